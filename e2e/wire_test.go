package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/envoy"
)

func gzipped(t *testing.T, b payload.Body) payload.Body {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(b.Reader()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	coded := payload.Bytes(out.Bytes())
	coded.ContentType = b.ContentType
	return coded
}

// Engines see what a receiver would see after undoing the coding; clean bodies
// keep theirs.
func (s *shared) codings(t *testing.T) {
	coded := http.Header{"Content-Encoding": {"gzip"}}
	s.each(t, func(t *testing.T, g *gate, engine string) {
		for name, body := range map[string]payload.Body{
			"raw":  gzipped(t, payload.Bytes(payload.EICAR())),
			"form": gzipped(t, payload.InfectedForm(newID(), 5000)),
		} {
			x := g.send(t, client.HTTP1, client.Request{Path: "/" + engine + "/up", Header: coded, Body: body}, origin.Answer{})
			x.wantNoUpload(t, name)
			x.wantProblem(t, name+" upload", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
			x = g.send(t, client.HTTP2, client.Request{Path: "/" + engine + "/down"}, origin.Answer{Header: coded, Body: body})
			x.wantProblem(t, name+" download", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
		}
		clean := gzipped(t, payload.Random(31, 100<<10))
		x := g.send(t, client.HTTP1, client.Request{Path: "/" + engine + "/both", Header: coded, Body: clean}, origin.Answer{Header: coded, Body: clean})
		if x.Status != http.StatusOK || x.seen.SHA256 != clean.SHA256() || x.SHA256 != clean.SHA256() || x.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("clean: status %d, the origin got %d bytes, the client %d: %s", x.Status, x.seen.Bytes, x.Bytes, x.Head[:min(200, len(x.Head))])
		}
		unknown := http.Header{"Content-Encoding": {"x-unheard-of"}}
		x = g.send(t, client.HTTP1, client.Request{Path: "/" + engine + "/up", Header: unknown, Body: payload.Random(32, 100)}, origin.Answer{})
		x.wantNoUpload(t, "unknown coding")
		x.wantProblem(t, "unknown coding", refusal{http.StatusUnsupportedMediaType, "request", "UNSCANNABLE", "unknown-coding"})
	})
}

// A client that asks before it sends (RFC 9110 section 10.1.1) is told to go on,
// and its body is judged like any other.
func (s *shared) expect(t *testing.T) {
	s.eachGate(t, func(t *testing.T, g *gate) {
		for body, want := range map[string]int{"harmless": http.StatusOK, string(payload.EICAR()): http.StatusForbidden} {
			ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
			raw, err := client.Dial(ctx, g.address)
			if err != nil {
				t.Fatal(err)
			}
			id := newID()
			err = raw.Send(fmt.Sprintf("POST /builtin/x HTTP/1.1\r\nHost: x\r\n%s: %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n",
				origin.IDHeader, id, len(body)))
			if err != nil {
				t.Fatal(err)
			}
			if res, err := raw.Receive(http.MethodPost); err != nil || res.Status != http.StatusContinue {
				t.Errorf("first status %d, error %v", res.Status, err)
			}
			if err := raw.Send(body); err != nil {
				t.Fatal(err)
			}
			if res, err := raw.Receive(http.MethodPost); err != nil || res.Status != want {
				t.Errorf("status %d, want %d, error %v", res.Status, want, err)
			}
			if _, arrived := g.origin.Seen(id); arrived != (want == http.StatusOK) {
				t.Errorf("arrived at the origin: %v", arrived)
			}
			_ = raw.Close() // answered
			cancel()
		}
	})
}

// An upgrade has no body that ends: it is answered at once, and the origin is
// not asked.
func (s *shared) upgrade(t *testing.T) {
	s.eachGate(t, func(t *testing.T, g *gate) {
		ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
		defer cancel()
		raw, err := client.Dial(ctx, g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = raw.Close() }()
		id, start := newID(), time.Now()
		if err := raw.Send("GET /builtin/x HTTP/1.1\r\nHost: x\r\n" + origin.IDHeader + ": " + id +
			"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := raw.Receive(http.MethodGet)
		if err != nil || res.Status < 400 {
			t.Errorf("status %d, error %v", res.Status, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("answered after %v", took)
		}
		if _, arrived := g.origin.Seen(id); arrived {
			t.Error("the origin was asked")
		}
	})
}

// The policy that Envoy's route names wins over the rules; one that does not
// exist blocks, whatever the fail switch says.
func (s *shared) routePolicy(t *testing.T) {
	for _, row := range []struct {
		policy string
		want   refusal
	}{
		{"small", refusal{http.StatusRequestEntityTooLarge, "request", "UNSCANNABLE", "too-large"}},
		{"no-such-policy", refusal{http.StatusServiceUnavailable, "request", "ERROR", "unknown-policy"}},
	} {
		t.Run(row.policy, func(t *testing.T) {
			t.Parallel()
			g := startGate(t, s.portcullis, envoy.Options{Policy: row.policy})
			x := g.send(t, client.HTTP1, client.Request{Path: "/report/x", Body: payload.Random(41, smallLimit+1)}, origin.Answer{})
			x.wantNoUpload(t, row.policy)
			x.wantProblem(t, row.policy, row.want)
		})
	}
}

// Envoy's access log tells the verdict of each leg.
func (s *shared) accessLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	g := startGate(t, s.portcullis, envoy.Options{AccessLog: path})
	g.send(t, client.HTTP1, client.Request{Path: "/builtin/clean", Body: payload.Random(43, 100)}, origin.Answer{})
	g.send(t, client.HTTP1, client.Request{Path: "/builtin/bad"}, origin.Answer{Body: payload.Bytes(payload.EICAR())})
	type verdict struct{ Outcome, Cause, Action, Policy string }
	type line struct {
		Path       string
		Status     int
		Details    string
		Portcullis struct{ Request, Response verdict }
	}
	var clean, bad line
	awaitZero(t, "access log lines missing", func() (int64, error) {
		text, err := os.ReadFile(path)
		missing := int64(2)
		for l := range bytes.Lines(text) {
			var one line
			if err := json.Unmarshal(l, &one); err != nil {
				return missing, fmt.Errorf("%s: %w", l, err)
			}
			switch one.Path {
			case "/builtin/clean":
				clean, missing = one, missing-1
			case "/builtin/bad":
				bad, missing = one, missing-1
			}
		}
		return missing, err
	})
	wantClean := line{Path: "/builtin/clean", Status: http.StatusOK, Details: "via_upstream"}
	wantClean.Portcullis.Request = verdict{"CLEAN", "scanned", "pass", "builtin"}
	wantClean.Portcullis.Response = verdict{"CLEAN", "empty", "pass", "builtin"}
	wantBad := line{Path: "/builtin/bad", Status: http.StatusForbidden, Details: "portcullis_infected_malware"}
	wantBad.Portcullis.Request = verdict{"CLEAN", "empty", "pass", "builtin"}
	wantBad.Portcullis.Response = verdict{"INFECTED", "malware", "block", "builtin"}
	if diff := cmp.Diff([]line{wantClean, wantBad}, []line{clean, bad}); diff != "" {
		t.Errorf("access log (-want +got):\n%s", diff)
	}
}

// The tour of the demo ends with status 0 only if each step was as promised.
func TestDemo(t *testing.T) {
	t.Parallel()
	envoyPath := needEnvoy(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*exchangeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, needPortcullis(t), "demo", "--once")
	cmd.Env = append(os.Environ(), "ENVOY="+envoyPath)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, promise := range []string{"200 (as promised)", "403 (as promised)", "the origin got 0 bytes"} {
		if !strings.Contains(string(out), promise) {
			t.Errorf("no word of %q in:\n%s", promise, out)
		}
	}
	// Without Envoy there is nothing to promise.
	cmd = exec.CommandContext(ctx, needPortcullis(t), "demo", "--once")
	cmd.Env = append(os.Environ(), "ENVOY=/nowhere/envoy")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("the demo succeeds without Envoy:\n%s", out)
	}
}
