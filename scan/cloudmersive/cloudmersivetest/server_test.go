package cloudmersivetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is what a plain HTTP client sends.
type call struct {
	method, path, key, part, partFile string
	header                            map[string]string
	content                           []byte
}

// do sends c to s on a connection of its own; an empty field means what is right.
func do(t *testing.T, s *Server, c call) (*http.Response, string, error) {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if c.part == "" {
		c.part = "inputFile"
	}
	part, err := w.CreateFormFile(c.part, c.partFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(c.content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.path == "" {
		c.path = BasicPath
	}
	if c.key == "" {
		c.key = s.Key()
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL()+c.path, &form)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header["APIKEY"] = []string{c.key}
	for name, value := range c.header {
		req.Header[name] = []string{value}
	}
	req.Close = true
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func start(t *testing.T, options ...Option) *Server {
	t.Helper()
	s := New(options...)
	t.Cleanup(s.Close)
	return s
}

// The checks of the service, in their order.
func TestRefusals(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		call call
		want int
	}{
		{call{path: "/virus/scan"}, 404},
		{call{method: http.MethodPut}, 405},
		{call{key: "wrong"}, 401},
		{call{part: "file"}, 400},
		{call{}, 200},
		{call{path: AdvancedPath}, 200},
	} {
		resp, body, err := do(t, s, c.call)
		if err != nil || resp.StatusCode != c.want {
			t.Errorf("%+v: %v, %v", c.call, resp, err)
		}
		if c.want == 401 && !strings.Contains(body, "Invalid API key or exceeded limits") {
			t.Errorf("401 says %q", body)
		}
	}
}

func TestBasicResult(t *testing.T) {
	s := start(t, WithSignature("Other.Name", []byte("harmful-pattern")))
	_, body, err := do(t, s, call{content: []byte("text")})
	if err != nil || body != `{"CleanResult":true,"FoundViruses":null}`+"\n" {
		t.Errorf("%s, %v", body, err)
	}
	both := append(eicar(), "harmful-pattern"...)
	_, body, err = do(t, s, call{content: both, partFile: "f"})
	want := `{"CleanResult":false,"FoundViruses":[{"FileName":"f","VirusName":"EICAR-Test-File"},{"FileName":"f","VirusName":"Other.Name"}]}`
	if err != nil || body != want+"\n" {
		t.Errorf("%s, %v", body, err)
	}
}

// A pattern is found wherever it lies, also across the pieces it arrives in.
func TestPatternAcrossWrites(t *testing.T) {
	content := append(bytes.Repeat([]byte("x"), 100), eicar()...)
	for cut := range content {
		f := file{signatures: []signature{{"EICAR", eicar()}}}
		for _, piece := range [][]byte{content[:cut], content[cut:]} {
			if _, err := f.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.viruses) != 1 {
			t.Errorf("cut at %d: found %q", cut, f.viruses)
		}
	}
}

// Every option blocks what it names unless it is "true", in any case of its name.
func TestAdvancedOptions(t *testing.T) {
	encrypted := append([]byte("PK\x03\x04\x14\x00\x01\x00"), make([]byte, 30)...)
	bomb := append([]byte("PK\x03\x04\x14\x00\x00\x00"), make([]byte, 10)...)
	bomb = append(bomb, 1, 0, 0, 0, 0, 0, 0, 1)
	bomb = append(bomb, make([]byte, 10)...)
	s := start(t)
	for option, c := range map[string]struct{ member, name, content string }{
		"allowExecutables":             {"ContainsExecutable", "", "MZ\x90"},
		"allowScripts":                 {"ContainsScript", "", "#!/bin/sh"},
		"allowMacros":                  {"ContainsMacros", "", "word/vbaProject.bin"},
		"allowInvalidFiles":            {"ContainsInvalidFile", "a.PDF", "no pdf"},
		"allowPasswordProtectedFiles":  {"ContainsPasswordProtectedFile", "", string(encrypted)},
		"allowUnsafeArchives":          {"ContainsUnsafeArchive", "", string(bomb)},
		"allowXmlExternalEntities":     {"ContainsXmlExternalEntities", "", `<?xml?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///">]>`},
		"allowInsecureDeserialization": {"ContainsInsecureDeserialization", "", `{"$type":"System.Diagnostics.Process"}`},
		"allowHtml":                    {"ContainsHtml", "", " <!DOCTYPE html>"},
		"allowOleEmbeddedObject":       {"ContainsOleEmbeddedObject", "", "word/embeddings/oleObject1.bin"},
		"allowUnwantedAction":          {"ContainsUnwantedAction", "", "%PDF-1.7 /OpenAction"},
	} {
		for value, clean := range map[string]bool{"": false, "false": false, "true": true} {
			header := map[string]string{"filename": c.name}
			if value != "" {
				header[strings.ToUpper(option)] = value
			}
			_, body, err := do(t, s, call{path: AdvancedPath, header: header, content: []byte(c.content)})
			var got map[string]any
			if err != nil || json.Unmarshal([]byte(body), &got) != nil {
				t.Fatalf("%s: %q, %v", option, body, err)
			}
			if got["CleanResult"] != clean || got[c.member] != true {
				t.Errorf("%s %q: %s", option, value, body)
			}
		}
	}
}

func TestRestrictFileTypes(t *testing.T) {
	s := start(t)
	for content, clean := range map[string]bool{"%PDF-1.7": true, "\x89PNG\r\n\x1a\n": true, "GIF89a": false, "text": false} {
		_, body, err := do(t, s, call{
			path: AdvancedPath, header: map[string]string{"restrictFileTypes": ".pdf, .png"}, content: []byte(content),
		})
		var got map[string]any
		if err != nil || json.Unmarshal([]byte(body), &got) != nil {
			t.Fatalf("%q, %v", body, err)
		}
		if got["CleanResult"] != clean || got["ContainsRestrictedFileFormat"] == clean {
			t.Errorf("%q: %s", content, body)
		}
	}
}

// The advanced result has every documented member.
func TestAdvancedMembers(t *testing.T) {
	_, body, err := do(t, start(t), call{path: AdvancedPath, content: []byte("%PDF-")})
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{
		"CleanResult", "FoundViruses", "ContainsExecutable", "ContainsInvalidFile", "ContainsScript",
		"ContainsPasswordProtectedFile", "ContainsRestrictedFileFormat", "ContainsMacros", "ContainsXmlExternalEntities",
		"ContainsInsecureDeserialization", "ContainsHtml", "ContainsUnsafeArchive", "ContainsOleEmbeddedObject",
		"ContainsUnwantedAction", "VerifiedFileFormat", "ContentInformation", "ContainsJSON", "ContainsXML", "ContainsImage",
		"Hash_SHA1", "RelevantSubfileName", "RelevantSubfileHash_SHA1", "IsAuthenticodeSigned",
	} {
		if !strings.Contains(body, `"`+member+`":`) {
			t.Errorf("%s is missing in %s", member, body)
		}
	}
}

func TestRecords(t *testing.T) {
	s := start(t)
	content := bytes.Repeat([]byte("abc"), 100_000)
	if _, _, err := do(t, s, call{content: content, partFile: "n.txt", header: map[string]string{"ALLOWHTML": "true"}}); err != nil {
		t.Fatal(err)
	}
	got := s.Requests()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	r := got[0]
	if r.Key != DefaultKey || !r.HasKey || !r.Found || !r.Complete || r.PartFileName != "n.txt" ||
		r.Size != int64(len(content)) || r.SHA256 != sha256.Sum256(content) || r.Options["allowHtml"] != "true" {
		t.Errorf("%+v", r)
	}
}

// Scripted answers come in order, then what is always answered.
func TestScript(t *testing.T) {
	s := start(t)
	s.Next(Status(402), StatusRetryAfter(429, "7"), JSON("null"), Redirect(307, "http://elsewhere.invalid"))
	s.Always(EarlyStatus(413))
	for _, want := range []int{402, 429, 200, 307, 413, 413} {
		resp, body, err := do(t, s, call{})
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%v, %v; want %d", resp, err, want)
		}
		if want == 429 && resp.Header.Get("Retry-After") != "7" || want == 200 && body != "null" {
			t.Errorf("%d: %v %q", want, resp.Header, body)
		}
	}
}

func TestBrokenReplies(t *testing.T) {
	s := start(t)
	for name, b := range map[string]Behaviour{
		"reset": Reset(), "early reset": EarlyReset(), "truncated": Truncated(`{"CleanResult":true}`, 5), "raw": Raw("nonsense\r\n\r\n"),
	} {
		s.Next(b)
		if resp, body, err := do(t, s, call{content: []byte("x")}); err == nil {
			t.Errorf("%s: %v %q", name, resp, body)
		}
	}
	s.Next(Huge(1 << 20))
	if _, body, err := do(t, s, call{}); err != nil || len(body) < 1<<20 || !json.Valid([]byte(body)) {
		t.Errorf("huge: %d bytes, %v", len(body), err)
	}
	s.Next(Drip(time.Microsecond, "abc"))
	if _, body, err := do(t, s, call{}); err != nil || body != "abc" {
		t.Errorf("drip: %q, %v", body, err)
	}
}

// Close ends clients that hang, and can be called again.
func TestCloseEndsHanging(t *testing.T) {
	for name, b := range map[string]Behaviour{"hang": Hang(), "stall": Stall(), "drip": Drip(time.Hour, "abc")} {
		s := New()
		arrived, failed := make(chan struct{}), make(chan error)
		s.Always(Behaviour{early: b.early, act: func(s *Server, w http.ResponseWriter, r *http.Request, got Request) {
			close(arrived)
			b.act(s, w, r, got)
		}})
		go func() {
			_, _, err := do(t, s, call{content: []byte("x")})
			failed <- err
		}()
		<-arrived
		s.Close()
		s.Close()
		if err := <-failed; err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCertificate(t *testing.T) {
	s := start(t, WithTLS(time.Now().Add(time.Hour)))
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") || !bytes.Contains(s.CertPEM(), []byte("BEGIN CERTIFICATE")) {
		t.Errorf("%s %s", s.URL(), s.CertPEM())
	}
	if _, _, err := do(t, s, call{}); err == nil {
		t.Error("a client that does not know the certificate took it")
	}
	if plain := start(t); plain.CertPEM() != nil {
		t.Error("a plain server has a certificate")
	}
}
