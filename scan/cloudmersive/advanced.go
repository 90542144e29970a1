package cloudmersive

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Advanced holds every option of the advanced scan.
//
// Of each Allow field, false has the service block such content, true lets it
// pass, and nil leaves the choice to the service: it documents false, save for
// AllowHTML, which is true for API keys older than that option.
//
// Ordinary JSON and text bodies need AllowInvalidFiles, AllowHTML and
// AllowInsecureDeserialization, or the service blocks them.
type Advanced struct {
	AllowExecutables             *bool // program code
	AllowScripts                 *bool // PHP, Python, BAT, JavaScript and embedded scripts
	AllowMacros                  *bool // Office macros
	AllowInvalidFiles            *bool // a PDF that is no PDF
	AllowPasswordProtectedFiles  *bool // encrypted archives and documents
	AllowUnsafeArchives          *bool // zip bombs
	AllowXMLExternalEntities     *bool // XXE
	AllowInsecureDeserialization *bool // object payloads in JSON and the like
	AllowHTML                    *bool // HTML as the file itself
	AllowOLEEmbeddedObject       *bool // embedded OLE objects
	AllowUnwantedAction          *bool // actions that run when a document is opened

	// The members of the options list; false leaves the member out.
	PermitJavascriptAndHTMLInPDFs         bool
	PermitJavascriptInHTML                bool
	BlockOfficeXMLOLEEmbeddedFile         bool
	BlockInvalidURIs                      bool
	PermitAuthenticodeSignedExecutables   bool
	ScanMultipartFile                     bool // split archives, not form data
	IgnoreRestrictFileTypesForAttachments bool

	// RestrictFileTypes lists the only types to let pass, such as ".pdf"; the
	// service verifies them by content. Empty allows every type.
	RestrictFileTypes []string
}

// header returns the options as the request headers that carry them, spelled as
// the service documents them; index the map with that spelling, do not Get. A
// nil receiver has none.
func (a *Advanced) header() (http.Header, error) {
	h := http.Header{}
	if a == nil {
		return h, nil
	}
	for _, o := range []struct {
		name  string
		value *bool
	}{
		{"allowExecutables", a.AllowExecutables},
		{"allowScripts", a.AllowScripts},
		{"allowMacros", a.AllowMacros},
		{"allowInvalidFiles", a.AllowInvalidFiles},
		{"allowPasswordProtectedFiles", a.AllowPasswordProtectedFiles},
		{"allowUnsafeArchives", a.AllowUnsafeArchives},
		{"allowXmlExternalEntities", a.AllowXMLExternalEntities},
		{"allowInsecureDeserialization", a.AllowInsecureDeserialization},
		{"allowHtml", a.AllowHTML},
		{"allowOleEmbeddedObject", a.AllowOLEEmbeddedObject},
		{"allowUnwantedAction", a.AllowUnwantedAction},
	} {
		if o.value != nil {
			h[o.name] = []string{strconv.FormatBool(*o.value)}
		}
	}
	if list := a.optionList(); len(list) > 0 {
		h["options"] = []string{strings.Join(list, ",")}
	}
	for _, t := range a.RestrictFileTypes {
		if !isExtension(t) {
			return nil, fmt.Errorf("restrict file types: %q is not a dot and letters or digits, such as .pdf", t)
		}
	}
	if len(a.RestrictFileTypes) > 0 {
		h["restrictFileTypes"] = []string{strings.Join(a.RestrictFileTypes, ",")}
	}
	return h, nil
}

func (a *Advanced) optionList() []string {
	var list []string
	for _, o := range []struct {
		name string
		set  bool
	}{
		{"permitJavascriptAndHtmlInPDFs", a.PermitJavascriptAndHTMLInPDFs},
		{"permitJavascriptInHtml", a.PermitJavascriptInHTML},
		{"blockOfficeXmlOleEmbeddedFile", a.BlockOfficeXMLOLEEmbeddedFile},
		{"blockInvalidUris", a.BlockInvalidURIs},
		{"permitAuthenticodeSignedExecutables", a.PermitAuthenticodeSignedExecutables},
		{"scanMultipartFile", a.ScanMultipartFile},
		{"ignoreRestrictFileTypesForAttachments", a.IgnoreRestrictFileTypesForAttachments},
	} {
		if o.set {
			list = append(list, o.name)
		}
	}
	return list
}

// isExtension accepts ".pdf" and ".tar.gz". A comma or line end in it would
// change the list or the request.
func isExtension(s string) bool {
	if len(s) < 2 || s[0] != '.' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (c != '.' || s[i-1] == '.' || i == len(s)-1) {
			return false
		}
	}
	return true
}
