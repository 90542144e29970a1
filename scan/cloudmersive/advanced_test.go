package cloudmersive

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func allOptions() *Advanced {
	yes, no := true, false
	return &Advanced{
		AllowExecutables: &no, AllowScripts: &yes, AllowMacros: &no, AllowInvalidFiles: &yes,
		AllowPasswordProtectedFiles: &no, AllowUnsafeArchives: &yes, AllowXMLExternalEntities: &no,
		AllowInsecureDeserialization: &yes, AllowHTML: &no, AllowOLEEmbeddedObject: &yes, AllowUnwantedAction: &no,
		PermitJavascriptAndHTMLInPDFs: true, PermitJavascriptInHTML: true, BlockOfficeXMLOLEEmbeddedFile: true,
		BlockInvalidURIs: true, PermitAuthenticodeSignedExecutables: true, ScanMultipartFile: true,
		IgnoreRestrictFileTypesForAttachments: true,
		RestrictFileTypes:                     []string{".pdf", ".docx", ".tar.gz"},
	}
}

// allOptions sets every field, so that the golden file misses none.
func TestAllOptionsIsComplete(t *testing.T) {
	v := reflect.ValueOf(*allOptions())
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set", v.Type().Field(i).Name)
		}
	}
}

// Every option is a header, spelled as the service documents it.
func TestAdvancedHeaders(t *testing.T) {
	h, err := allOptions().header()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var names []string
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&got, "%s: %s\n", name, h[name][0])
	}
	golden := filepath.Join("testdata", "advanced-headers.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What is not set is not sent.
func TestAdvancedOmitsUnset(t *testing.T) {
	for name, a := range map[string]*Advanced{"nil": nil, "zero": {}} {
		h, err := a.header()
		if err != nil || !cmp.Equal(h, http.Header{}) {
			t.Errorf("%s: %v, %v; want no header", name, h, err)
		}
	}
}

func TestRestrictFileTypesAreChecked(t *testing.T) {
	for _, bad := range []string{"", "pdf", ".", ".pdf,.exe", ".p df", ".pdf\r\nApikey: x", "..", ".a.", ".ü"} {
		if _, err := (&Advanced{RestrictFileTypes: []string{".pdf", bad}}).header(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The server sees each option, the name and the bytes.
func TestAdvancedOnTheWire(t *testing.T) {
	s := newServer(t)
	e := newEngine(t, Config{URL: s.URL(), Advanced: allOptions()})
	o := scantest.Object([]byte("%PDF-1.7 text"))
	o.Name = "a \"b\"\r\n.pdf"
	if v, err := e.Scan(t.Context(), o); err != nil || v.Cause != "scanned" {
		t.Fatalf("%+v, %v", v, err)
	}
	got := s.Requests()[0]
	want := map[string]string{"fileName": "a %22b%22.pdf"}
	options, err := allOptions().header()
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range options {
		want[name] = values[0]
	}
	if diff := cmp.Diff(want, got.Options); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got.Path != cloudmersivetest.AdvancedPath || got.PartFileName != "" || got.SHA256 != o.SHA256 || !got.Complete {
		t.Errorf("request %+v", got)
	}
}
