package cloudmersive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// reply is VirusScanResult and VirusScanAdvancedResult in one. Every member is
// optional, and null is the same as absent.
type reply struct {
	CleanResult  *bool
	FoundViruses []foundVirus

	ContainsExecutable              bool
	ContainsInvalidFile             bool
	ContainsScript                  bool
	ContainsPasswordProtectedFile   bool
	ContainsRestrictedFileFormat    bool
	ContainsMacros                  bool
	ContainsXMLExternalEntities     bool
	ContainsInsecureDeserialization bool
	ContainsHTML                    bool
	ContainsUnsafeArchive           bool
	ContainsOLEEmbeddedObject       bool
	ContainsUnwantedAction          bool
	// VerifiedFileFormat is empty when the type is not supported, or infected.
	VerifiedFileFormat string
	ContentInformation contentInformation

	// odd is what speaks against taking the reply for a proof of CLEAN, though
	// it may still be one of the contrary.
	odd error
}

type foundVirus struct {
	FileName  string `json:"FileName"`
	VirusName string `json:"VirusName"`
}

type contentInformation struct {
	ContainsJSON            bool   `json:"ContainsJSON"`
	ContainsXML             bool   `json:"ContainsXML"`
	ContainsImage           bool   `json:"ContainsImage"`
	HashSHA1                string `json:"Hash_SHA1"`
	RelevantSubfileName     string `json:"RelevantSubfileName"`
	RelevantSubfileHashSHA1 string `json:"RelevantSubfileHash_SHA1"`
	IsAuthenticodeSigned    bool   `json:"IsAuthenticodeSigned"`
}

// fields maps the names on the wire to where their values go.
func (r *reply) fields() map[string]any {
	return map[string]any{
		"CleanResult":                     &r.CleanResult,
		"FoundViruses":                    &r.FoundViruses,
		"ContainsExecutable":              &r.ContainsExecutable,
		"ContainsInvalidFile":             &r.ContainsInvalidFile,
		"ContainsScript":                  &r.ContainsScript,
		"ContainsPasswordProtectedFile":   &r.ContainsPasswordProtectedFile,
		"ContainsRestrictedFileFormat":    &r.ContainsRestrictedFileFormat,
		"ContainsMacros":                  &r.ContainsMacros,
		"ContainsXmlExternalEntities":     &r.ContainsXMLExternalEntities,
		"ContainsInsecureDeserialization": &r.ContainsInsecureDeserialization,
		"ContainsHtml":                    &r.ContainsHTML,
		"ContainsUnsafeArchive":           &r.ContainsUnsafeArchive,
		"ContainsOleEmbeddedObject":       &r.ContainsOLEEmbeddedObject,
		"ContainsUnwantedAction":          &r.ContainsUnwantedAction,
		"VerifiedFileFormat":              &r.VerifiedFileFormat,
		"ContentInformation":              &r.ContentInformation,
	}
}

// finding is one Contains member that may be why the service says "not clean".
type finding struct {
	member string
	found  bool
	option string // the request header that lets it pass with "true"; "" if none does
	cause  scan.Cause
}

// findings are ordered by how much the cause tells: when several are true, the
// first names the verdict.
func (r *reply) findings() []finding {
	return []finding{
		{"ContainsPasswordProtectedFile", r.ContainsPasswordProtectedFile, "allowPasswordProtectedFiles", scan.CauseEncrypted},
		{"ContainsUnsafeArchive", r.ContainsUnsafeArchive, "allowUnsafeArchives", scan.CauseBomb},
		{"ContainsMacros", r.ContainsMacros, "allowMacros", scan.CauseMacro},
		{"ContainsExecutable", r.ContainsExecutable, "allowExecutables", scan.CauseForbiddenType},
		{"ContainsRestrictedFileFormat", r.ContainsRestrictedFileFormat, "", scan.CauseForbiddenType},
		{"ContainsScript", r.ContainsScript, "allowScripts", scan.CauseActiveContent},
		{"ContainsOleEmbeddedObject", r.ContainsOLEEmbeddedObject, "allowOleEmbeddedObject", scan.CauseActiveContent},
		{"ContainsUnwantedAction", r.ContainsUnwantedAction, "allowUnwantedAction", scan.CauseActiveContent},
		{"ContainsXmlExternalEntities", r.ContainsXMLExternalEntities, "allowXmlExternalEntities", scan.CauseActiveContent},
		{"ContainsInsecureDeserialization", r.ContainsInsecureDeserialization, "allowInsecureDeserialization", scan.CauseActiveContent},
		{"ContainsHtml", r.ContainsHTML, "allowHtml", scan.CauseActiveContent},
		{"ContainsInvalidFile", r.ContainsInvalidFile, "allowInvalidFiles", scan.CauseInvalidFile},
	}
}

// decodeReply accepts one JSON object and nothing behind it, with member names
// in exactly the documented spelling. encoding/json alone would take the last of
// two contradicting members, and "cleanresult" for CleanResult.
func decodeReply(body []byte) (*reply, error) {
	members, err := splitObject(body)
	if err != nil {
		return nil, err
	}
	r := &reply{}
	fields := r.fields()
	for name, raw := range members {
		target, known := fields[name]
		if !known {
			if like := sameButForCase(name, fields); like != "" {
				r.odd = fmt.Errorf("has a member that differs from %s in its case only", like)
			}
			continue // a member of a newer version
		}
		if err := json.Unmarshal(raw, target); err != nil {
			r.odd = fmt.Errorf("has a %s of the wrong type", name)
			if target == any(&r.CleanResult) {
				r.CleanResult = nil // not the false that Unmarshal left
			}
		}
	}
	return r, nil
}

func sameButForCase(name string, fields map[string]any) string {
	for known := range fields {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

// splitObject returns the members of the one object that body consists of. Of a
// member that stands there twice, both must be the same.
func splitObject(body []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(body) {
		return nil, errors.New("is no complete JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("is no JSON object")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, errors.New("has a member without a name")
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("has a member without a name")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, errors.New("has a member without a value")
		}
		if before, twice := members[name]; twice && !bytes.Equal(before, value) {
			return nil, errors.New("has two members of one name with different values")
		}
		members[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("does not end")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more behind its end")
	}
	return members, nil
}
