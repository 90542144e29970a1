package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/wrap"
	"github.com/portcullis-av/portcullis/scan"
)

// clientForm is a form as a client sent it.
type clientForm struct {
	client, contentType string
	body                []byte
}

// recorder keeps the forms that real programs send to it.
type recorder struct {
	*httptest.Server
	mu    sync.Mutex
	forms []clientForm
}

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Errorf("%s: %v", q.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.forms = append(r.forms, clientForm{strings.TrimPrefix(q.URL.Path, "/"), q.Header.Get("Content-Type"), body})
	}))
	t.Cleanup(r.Close)
	return r
}

// realClients makes every program that is here upload the file and returns what
// they sent. Programs that are not here are those of clientForms.
func realClients(t *testing.T, file string) []clientForm {
	t.Helper()
	r := startRecorder(t)
	python, node := filepath.Join(cacheDir(), "parsers-py", "bin", "python"), filepath.Join(cacheDir(), "parsers-node")
	for _, path := range []string{python, node} {
		if _, err := os.Stat(path); err != nil {
			missing(t, "the clients of other languages are not installed")
		}
	}
	run := func(name string, env []string, args ...string) {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(name), err, out)
		}
	}
	run("curl", nil, "-sf", "-F", "note=hello", "-F", "f=@"+file+";filename=a \"b\".exe", r.URL+"/curl")
	run("curl", nil, "-sf", "-F", "f=@"+file+",/dev/null;type=text/plain", "-F", "j={\"a\":1};type=application/json", r.URL+"/curl,several")
	run("curl", nil, "-sf", "-F", "f=@"+file+";encoder=base64", "-F", "q=äöü;encoder=quoted-printable", r.URL+"/curl,encoders")
	run(python, nil, filepath.Join("parsers", "clients.py"), r.URL, file)
	run("node", []string{"PARSERS_DIR=" + node}, filepath.Join("parsers", "clients.mjs"), r.URL, file)
	if java, err := exec.LookPath("java"); err == nil {
		run(java, nil, filepath.Join("parsers", "Client.java"), r.URL, file)
	}
	goClient(t, r.URL, file)
	return r.forms
}

// goClient uploads as Go programs do.
func goClient(t *testing.T, url, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("note", "hello") // into memory
	f, err := w.CreateFormFile("f", `a "ü".exe`)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write(data)
	_ = w.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/go", &b)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// recordedForms are forms of clients that cannot run here, in the form in which
// they write them: of browsers as the WHATWG's HTML standard (4.10.21.8) and
// captures of their requests have it, of .NET's MultipartFormDataContent and Apache
// HttpClient 4.5 and 5 as their sources do, of Postman as its runtime (form-data of
// npm) does.
func recordedForms(file []byte) []clientForm {
	part := func(boundary, header string, content []byte) []byte {
		return []byte("--" + boundary + "\r\n" + header + "\r\n\r\n" + string(content) + "\r\n")
	}
	var all []clientForm
	add := func(client, contentType, boundary, end string, parts ...[]byte) {
		all = append(all, clientForm{client, contentType, append(bytes.Join(parts, nil), "--"+boundary+"--"+end...)})
	}
	const chromium, gecko, webkit = "----WebKitFormBoundaryGQcVL0YmdZ3JpZpE", "---------------------------41184676334268905853273472151", "----WebKitFormBoundary2ooA0Hd8PVZ8FAgI"
	add("Chrome", "multipart/form-data; boundary="+chromium, chromium, "\r\n",
		part(chromium, `Content-Disposition: form-data; name="a%22b"`, []byte("x\r\ny")),
		part(chromium, "Content-Disposition: form-data; name=\"f\"; filename=\"größe %22x%22.exe\"\r\nContent-Type: application/x-msdownload", file),
		part(chromium, "Content-Disposition: form-data; name=\"none\"; filename=\"\"\r\nContent-Type: application/octet-stream", nil))
	add("Firefox", "multipart/form-data; boundary="+gecko, gecko, "\r\n",
		part(gecko, `Content-Disposition: form-data; name="note"`, []byte("hello")),
		part(gecko, "Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/x-ms-dos-executable", file))
	add("Firefox 130", "multipart/form-data; boundary=----geckoformboundary4a7c1b36d7d0f5d6c1a2b3c4d5e6f708", "----geckoformboundary4a7c1b36d7d0f5d6c1a2b3c4d5e6f708", "\r\n",
		part("----geckoformboundary4a7c1b36d7d0f5d6c1a2b3c4d5e6f708", "Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/x-msdos-program", file))
	add("Safari", "multipart/form-data; boundary="+webkit, webkit, "\r\n",
		part(webkit, "Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/octet-stream", file))
	const guid = "0fb3ff9b-1d8a-4c1e-8a6e-2f1d4a7c9b10"
	add(".NET", `multipart/form-data; boundary="`+guid+`"`, guid, "\r\n",
		part(guid, "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=note", []byte("hello")),
		part(guid, "Content-Type: application/octet-stream\r\nContent-Disposition: form-data; name=f; filename=a.exe; filename*=utf-8''a.exe", file))
	add(".NET, a name with a blank", `multipart/form-data; boundary="`+guid+`"`, guid, "\r\n",
		part(guid, "Content-Disposition: form-data; name=f; filename=\"a b.exe\"; filename*=utf-8''a%20b.exe", file))
	const apache = "wZ8mY2sHq_7LkT-3nVbXcRpDfGjK0a"
	add("Apache HttpClient 4", "multipart/form-data; boundary="+apache+"; charset=UTF-8", apache, "\r\n",
		part(apache, "Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary", file),
		part(apache, "Content-Disposition: form-data; name=\"n\"\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit", []byte("hello")))
	add("Apache HttpClient 5", "multipart/form-data; charset=ISO-8859-1; boundary="+apache, apache, "\r\n",
		part(apache, "Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/octet-stream", file))
	const okhttp = "3f1c2a9e-5b7d-4e88-9c0a-1d2e3f4a5b6c"
	add("OkHttp", "multipart/form-data; boundary="+okhttp, okhttp, "\r\n",
		part(okhttp, fmt.Sprintf("Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/octet-stream\r\nContent-Length: %d", len(file)), file))
	const postman = "--------------------------515890814546601021194782"
	add("Postman", "multipart/form-data; boundary="+postman, postman, "\r\n",
		part(postman, `Content-Disposition: form-data; name="note"`, []byte("hello")),
		part(postman, "Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Type: application/x-msdownload", file))
	const ruby = "-----------RubyMultipartPost-6e1f0c2d7a"
	add("Ruby multipart-post", "multipart/form-data; boundary="+ruby, ruby, "\r\n",
		part(ruby, fmt.Sprintf("Content-Disposition: form-data; name=\"f\"; filename=\"a.exe\"\r\nContent-Length: %d\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary", len(file)), file))
	return all
}

// Forms of real clients, most of them sent by the very programs here, pass under
// the strict grammar, and with a known file inside are blocked as infected.
func TestRealClients(t *testing.T) {
	t.Parallel()
	g := newBareGate(t)
	known := wrap.Binary(knownFile)
	path := filepath.Join(t.TempDir(), "a.exe")
	if err := os.WriteFile(path, known, 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range append(realClients(t, path), recordedForms(known)...) {
		seen[f.client] = true
		g.judges(t, f, known, known, scan.OutcomeInfected)
		g.judges(t, f, known, wrap.Binary(cleanFile), scan.OutcomeClean)
		g.judges(t, f, known, payload.EICAR(), scan.OutcomeInfected)
	}
	t.Logf("%d clients", len(seen))
	if len(seen) < 22 {
		t.Errorf("only %d clients: %v", len(seen), seen)
	}
}

// judges expects an outcome of the form with another file in place of the one sent.
// A form that holds it encoded is what it is.
func (g *bareGate) judges(t *testing.T, f clientForm, sent, file []byte, want scan.Outcome) {
	t.Helper()
	body := bytes.ReplaceAll(f.body, sent, file)
	if bytes.Equal(body, f.body) && !bytes.Equal(file, sent) {
		return
	}
	v := wrap.Vector{Header: http.Header{"Content-Type": {f.contentType}}}
	if d := g.judge(t, v, defaultPolicy(), scan.Request, body); d.Verdict.Outcome != want {
		t.Errorf("%s: %+v, want %v\n%s\n%.600q", f.client, d.Verdict, want, f.contentType, body)
	}
}
