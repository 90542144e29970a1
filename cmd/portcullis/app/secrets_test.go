package app_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

// An API key and the bytes of bodies are in nothing that the gate writes or
// shows, whatever the engine answers; nor are queries and credentials of
// requests.
func TestSecretsStayInside(t *testing.T) {
	const (
		key    = "2b7f9c0e-very-secret-key"
		marker = "bytes-that-only-the-body-holds"
		query  = "token-in-a-query"
		bearer = "token-in-a-header"
	)
	fake := cloudmersivetest.New(cloudmersivetest.WithKey(key))
	t.Cleanup(fake.Close)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := started(t, "engines: [{name: cloud, cloudmersive: {url: \""+fake.URL()+"\", api_key_file: \""+keyFile+"\"}}]\n"+
		"policies: [{name: default, engines: [cloud], show_threats: true}]\n")
	r.becomes("/readyz", 200, "ready\n")
	envoy := extproctest.New(r.dial(nil), extproctest.Duplex())
	answers := ""
	for name, b := range map[string]cloudmersivetest.Behaviour{
		"answers":            cloudmersivetest.Answer(),
		"refuses the key":    cloudmersivetest.Status(401), // and repeats it
		"breaks":             cloudmersivetest.Status(500),
		"resets":             cloudmersivetest.Reset(),
		"no JSON":            cloudmersivetest.JSON(marker + key),
		"redirects with key": cloudmersivetest.Redirect(302, fake.URL()+"/?"+key),
	} {
		fake.Always(b)
		for _, body := range []string{name + marker, name + marker + string(eicar())} { // new each time: verdicts are cached
			res := envoy.Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{
				Headers: extproctest.Headers{
					{Key: ":method", Value: "POST"},
					{Key: ":path", Value: "/up?key=" + query},
					{Key: "authorization", Value: "Bearer " + bearer},
				},
				Body: extproctest.Cut([]byte(body), 7),
			}})
			if res.Client.Local {
				answers += string(res.Client.Body)
			} else if name != "answers" {
				t.Errorf("%s: the body passed", name)
			}
			single, err := scanContent(t.Context(), r.dial(nil), []byte(body))
			answers += single.String()
			if err != nil {
				answers += err.Error()
			}
		}
	}
	_, metrics := r.get("/metrics")
	_, configz := r.get("/configz")
	_, readyz := r.get("/readyz")
	_, goroutines := r.get("/debug/pprof/goroutine?debug=2")
	_, cmdline := r.get("/debug/pprof/cmdline")
	if !strings.Contains(configz, "api_key_file: "+keyFile) {
		t.Errorf("/configz does not name the key's file:\n%s", configz)
	}
	r.stop()
	if n := len(fake.Requests()); n < 6 {
		t.Fatalf("only %d requests reached the engine", n)
	}
	for name, text := range map[string]string{
		"the log": r.log.String(), "metrics": metrics, "configz": configz, "readyz": readyz,
		"goroutines": goroutines, "cmdline": cmdline, "answers to clients": answers,
	} {
		for _, secret := range []string{key, marker, query, bearer} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: holds %q:\n%s", name, secret, text)
			}
		}
	}
}

// What a service says unasked, our key for example, is in no line that a library
// writes by itself.
func TestLibrariesWriteNothing(t *testing.T) {
	var lines bytes.Buffer
	log.SetOutput(&lines)
	const key = "3c8a-a-key-that-comes-back"
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form, _ := io.ReadAll(r.Body) // a client that left is no failure of the test
		reply := `{"CleanResult":true}`
		if bytes.Contains(form, eicar()) {
			reply = `{"FoundViruses":[{"VirusName":"Eicar"}]}`
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nX-Told: %s\r\n\r\n", len(reply), reply, r.Header.Get("Apikey"))
		_, _ = conn.Read(make([]byte, 1)) // until the client has closed it
		_ = conn.Close()
	}))
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	r := started(t, "engines: [{name: cloud, cloudmersive: {url: \""+service.URL+"\", api_key_file: \""+keyFile+"\"}}]\n"+
		"policies: [{name: default, engines: [cloud]}]\n")
	r.becomes("/readyz", 200, "ready\n")
	service.Close() // waits until each connection was found to be odd, and closed
	r.stop()
	if all := lines.String() + r.log.String(); strings.Contains(all, key) || lines.Len() > 0 {
		t.Errorf("written:\n%s", all)
	}
}
