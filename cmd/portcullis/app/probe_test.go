package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// A gate is probed as Envoy would ask it, and passes only what it should.
func TestProbeExtProc(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		code   int
		prints []string
	}{
		"a working gate": {"", 0, []string{
			"a clean upload: passed: as it should",
			"EICAR, the harmless test virus: 403, refused by Portcullis (malware): as it should",
		}},
		"one that only detects": {
			"policies: [{name: default, engines: [builtin], enforce: false}]\n", 1,
			[]string{"EICAR, the harmless test virus: passed: WRONG, want 403 by Portcullis (malware)"},
		},
		"one without its engine": {
			"engines: [{name: clamav, clamd: {addresses: [\"127.0.0.1:1\"]}}]\n", 1,
			[]string{"a clean upload: 503, refused by Portcullis (engine-unreachable): WRONG, want pass"},
		},
	} {
		r := serve(t, c.config)
		code, stdout, stderr := run(t, "probe", "--extproc", r.extproc)
		if code != c.code || stderr != "" {
			t.Errorf("%s: exit %d, %s", name, code, stderr)
		}
		for _, line := range c.prints {
			if !strings.Contains(stdout, line+"\n") {
				t.Errorf("%s: no line %q in:\n%s", name, line, stdout)
			}
		}
	}
}

// A gate that asks for certificates is probed with one, and only with one.
func TestProbeExtProcTLS(t *testing.T) {
	a := newAuthority(t)
	a.server("server")
	a.client("client")
	r := serve(t, a.listenTLS("server.pem", "server.key", "ca.pem"))
	with := []string{"probe", "--extproc", r.extproc, "--ca-file", a.file("ca.pem"), "--timeout", "5s"}
	own := []string{"--cert-file", a.file("client.pem"), "--key-file", a.file("client.key")}
	if code, stdout, stderr := run(t, slices.Concat(with, own)...); code != 0 {
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
	for name, args := range map[string][]string{
		"no certificate": with,
		"no TLS":         {"probe", "--extproc", r.extproc, "--timeout", "5s"},
		"other name":     slices.Concat(with, own, []string{"--server-name", "example.com"}),
	} {
		if code, stdout, _ := run(t, args...); code != 2 {
			t.Errorf("%s: exit %d, %s", name, code, stdout)
		}
	}
}

// Only an answer of Portcullis proves that it is there: a service that refuses
// everything by itself, or lets everything pass, is no gate.
func TestProbeURL(t *testing.T) {
	problem := `{"type":"urn:portcullis:malware","status":403,"cause":"malware"}`
	infected := func(body string) bool { return strings.Contains(body, "EICAR-STANDARD") }
	for name, c := range map[string]struct {
		answer func(body string) (int, string)
		code   int
	}{
		"a gate":                 {func(b string) (int, string) { return pick(infected(b), 403, problem, 200, "thanks") }, 0},
		"a gate before a 404":    {func(b string) (int, string) { return pick(infected(b), 403, problem, 404, "not here") }, 0},
		"no gate":                {func(string) (int, string) { return 200, "thanks" }, 1},
		"a service's own 403":    {func(string) (int, string) { return 403, "log in" }, 1},
		"a gate that blocks all": {func(string) (int, string) { return 403, problem }, 1},
		"a gate without an engine": {func(string) (int, string) {
			return 503, `{"type":"urn:portcullis:engine-unreachable","cause":"engine-unreachable"}`
		}, 1},
		"an Envoy without a gate": {func(string) (int, string) { return 503, "" }, 1},
		"the right word, no 403":  {func(b string) (int, string) { return pick(infected(b), 200, problem, 200, "thanks") }, 1},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			status, text := c.answer(string(body))
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}))
		code, stdout, stderr := run(t, "probe", server.URL+"/upload")
		if code != c.code {
			t.Errorf("%s: exit %d, %s%s", name, code, stdout, stderr)
		}
		// The same through a proxy, which that server then is.
		if code, stdout, stderr := run(t, "probe", "--proxy", server.URL, "http://example.invalid/"); code != c.code {
			t.Errorf("%s as a proxy: exit %d, %s%s", name, code, stdout, stderr)
		}
		server.Close()
	}
}

func pick(first bool, status int, text string, otherStatus int, otherText string) (int, string) {
	if first {
		return status, text
	}
	return otherStatus, otherText
}

// What cannot be told is neither right nor wrong.
func TestProbeFails(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing to probe":  {"probe"},
		"both":              {"probe", "--extproc", "127.0.0.1:1", "http://127.0.0.1:1/"},
		"nobody there":      {"probe", "http://127.0.0.1:1/"},
		"nobody at extproc": {"probe", "--extproc", "127.0.0.1:1"},
		"no URL":            {"probe", "shop"},
		"no proxy":          {"probe", "--proxy", "shop", "http://127.0.0.1:1/"},
		"a CA for a URL":    {"probe", "--ca-file", "ca.pem", "http://127.0.0.1:1/"},
		"no such CA":        {"probe", "--extproc", "127.0.0.1:1", "--ca-file", t.TempDir() + "/none"},
	} {
		if code, stdout, stderr := run(t, args...); code != 2 || stdout != "" || stderr == "" {
			t.Errorf("%s: exit %d, %q, %q", name, code, stdout, stderr)
		}
	}
}
