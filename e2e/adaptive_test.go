package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// In the adaptive profile, Envoy sends a body only if the answer to the request's
// headers asks for it. TestGate holds the profile to everything that the others
// promise; here is what is special to it.

// adaptiveConfig has a policy that skips each leg and one that gives up soon on a
// body of which nothing comes.
func adaptiveConfig() string {
	return yaml([]string{`{name: builtin, builtin: {}}`}, []string{
		`{name: default, engines: [builtin]}`,
		`{name: none, request: skip, response: skip}`,
		`{name: up, engines: [builtin], response: skip}`,
		`{name: down, engines: [builtin], request: skip}`,
		`{name: hasty, engines: [builtin], upload_idle_timeout: 500ms}`,
	})
}

// Bodies beyond Envoy's buffer limit (5 MiB to its 1 MiB) cross and are stopped
// like small ones, in every framing.
func TestAdaptiveLarge(t *testing.T) {
	t.Parallel()
	const size = 5 << 20
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: adaptiveConfig()}), envoy.Options{Profile: envoy.Adaptive})
	for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
		for _, f := range framings() {
			g.crosses(t, "default", p, f, payload.Random(51, size))

			what := fmt.Sprintf("%v %s", p, f.name)
			id := newID()
			bad := payload.Concat(payload.Bytes(payload.Canaries(id, size)), payload.Bytes(payload.EICAR()))
			x, err := g.try(t, id, p, client.Request{Path: "/default/up", Body: bad, Chunked: f.chunked, Trailer: f.trailers}, origin.Answer{})
			if err != nil {
				t.Errorf("%s upload: %v", what, err)
				continue
			}
			x.wantNoUpload(t, what)
			x.wantProblem(t, what+" upload", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})

			a := origin.Answer{Body: bad, Trailer: f.trailers}
			if f.chunked {
				a.Length = origin.Chunked
			}
			if x, err = g.try(t, id, p, client.Request{Path: "/default/down"}, a); err != nil {
				t.Errorf("%s download: %v", what, err)
				continue
			}
			x.wantNoDownload(t, what)
			x.wantProblem(t, what+" download", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
		}
	}
	g.lawful(t)
}

// lawful requires that Envoy found nothing to complain about.
func (g *gate) lawful(t *testing.T) {
	t.Helper()
	for _, stat := range []string{
		"ext_proc.spurious_msgs_received", "ext_proc.streams_failed", "ext_proc.failure_mode_allowed",
		"ext_proc.message_timeouts", "ext_proc.rejected_header_mutations",
	} {
		if n, err := g.envoy.Stat(stat); err != nil || n != 0 {
			t.Errorf("%s: %s is %d, error %v", g.name, stat, n, err)
		}
	}
}

// What the policy does not scan never comes to Portcullis: no body is held, and
// Envoy sends headers and trailers alone.
func TestAdaptiveSkips(t *testing.T) {
	t.Parallel()
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: adaptiveConfig()}), envoy.Options{Profile: envoy.Adaptive})
	form := payload.InfectedForm(newID(), 2<<20)
	for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
		for _, f := range framings() {
			a := origin.Answer{Body: form, Trailer: f.trailers}
			if f.chunked {
				a.Length = origin.Chunked
			}
			x := g.send(t, p, client.Request{Path: "/none/x", Body: form, Chunked: f.chunked, Trailer: f.trailers}, a)
			if x.Status != http.StatusOK || x.seen.SHA256 != form.SHA256() || x.SHA256 != form.SHA256() {
				t.Errorf("%v %s: status %d, the origin got %d bytes, the client %d", p, f.name, x.Status, x.seen.Bytes, x.Bytes)
			}
		}
	}
	g.awaitCount(t, 12, "outcome", "SKIPPED")
	if sent := g.sideBytes(t); sent > 256<<10 {
		t.Errorf("Envoy sent %d bytes to Portcullis for exchanges out of scope", sent)
	}

	// One leg is skipped, the other held.
	x := g.send(t, client.HTTP2, client.Request{Path: "/down/x", Body: form}, origin.Answer{Body: payload.Bytes(payload.EICAR())})
	x.wantProblem(t, "down", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
	if x.seen.SHA256 != form.SHA256() {
		t.Errorf("down: the origin got %d bytes", x.seen.Bytes)
	}
	x = g.send(t, client.HTTP1, client.Request{Path: "/up/x", Body: payload.Random(1, 10<<10)}, origin.Answer{Body: form})
	if x.Status != http.StatusOK || x.SHA256 != form.SHA256() {
		t.Errorf("up: status %d, the client got %d bytes", x.Status, x.Bytes)
	}
	x = g.send(t, client.HTTP1, client.Request{Path: "/up/x", Body: payload.Bytes(payload.EICAR())}, origin.Answer{Body: form})
	x.wantNoUpload(t, "up")
	x.wantProblem(t, "up", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
	g.lawful(t)
}

// sideBytes is what Envoy has sent to Portcullis.
func (g *gate) sideBytes(t *testing.T) int64 {
	t.Helper()
	n, err := g.envoy.Stat("cluster.portcullis.upstream_cx_tx_bytes_total")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Whether the origin sees an upload's headers before the verdict depends on the
// mode that Portcullis asks for and on what has come by then. Measured, Envoy
// 1.40.0, and pinned here: BUFFERED keeps them. FULL_DUPLEX lets them go with the
// header answer while the body is incomplete. No byte of the body goes either way.
func TestAdaptiveHeaders(t *testing.T) {
	t.Parallel()
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: adaptiveConfig()}), envoy.Options{Profile: envoy.Adaptive})
	for _, chunked := range []bool{false, true} {
		id, gate := newID(), make(chan struct{})
		body := payload.Concat(payload.Bytes(payload.Canaries(id, 10<<10)), payload.Bytes(payload.EICAR()))
		seen := make(chan bool, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := g.origin.AwaitHeaders(ctx, id)
			seen <- err == nil
			close(gate)
		}()
		x, err := g.try(t, id, client.HTTP1, client.Request{Path: "/default/x", Body: body, Chunked: chunked, Gate: gate, GateAt: 5 << 10}, origin.Answer{})
		if err != nil {
			t.Fatal(err)
		}
		if early := <-seen; early != chunked {
			t.Errorf("chunked=%v: the origin saw the headers before the end of the body: %v", chunked, early)
		}
		x.wantNoUpload(t, "headers")
		x.wantProblem(t, "headers", refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
	}
}

// A chunked request without a byte that has trailers is the one lawful message
// whose end Envoy 1.40.0 never shows once it is asked for FULL_DUPLEX before the
// trailers have come (measured). The upload's deadline ends it, and nothing passes.
func TestAdaptiveEmptyWithTrailers(t *testing.T) {
	t.Parallel()
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: adaptiveConfig()}), envoy.Options{Profile: envoy.Adaptive})
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	raw, err := client.Dial(ctx, g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	if err := raw.Send("POST /hasty/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n0\r\nx-t: 1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := raw.Receive(http.MethodPost)
	if err != nil || res.Status != http.StatusUnprocessableEntity || !bytes.Contains(res.Head, []byte("upload-deadline")) {
		t.Errorf("status %d, error %v: %s", res.Status, err, res.Head)
	}
	if n := g.origin.Tap().Bytes(); n != 0 {
		t.Errorf("%d bytes reached the origin", n)
	}
}

// startEdited starts an Envoy with the adaptive configuration, edited.
func startEdited(t *testing.T, p *rig.Portcullis, edit func(yaml string) string) *gate {
	t.Helper()
	behind := startOrigin(t)
	config, err := envoy.StaticYAML(envoy.Options{
		Profile: envoy.Adaptive, Upstream: behind.Address(), Processor: p.ExtProc, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	edited := edit(string(config))
	if edited == string(config) {
		t.Fatal("the edit changed nothing")
	}
	e, err := rig.StartEnvoy(rig.EnvoyOptions{Binary: needEnvoy(t), Dir: t.TempDir(), Config: []byte(edited)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Kill()
		showLog(t, "envoy", e.Process)
	})
	address, err := e.Address()
	if err != nil {
		t.Fatal(err)
	}
	return &gate{name: "edited", address: address, envoy: e, portcullis: p, origin: behind}
}

// An Envoy that claims to obey overrides and ignores them has let the upload go
// before anybody can know. That is noticed with the response: it is refused, and
// counted, and nothing is reported as scanned. No download passes.
func TestOverrideIgnored(t *testing.T) {
	t.Parallel()
	p := startPortcullis(t, rig.PortcullisOptions{Config: adaptiveConfig()})
	g := startEdited(t, p, func(y string) string {
		return strings.Replace(y, "allow_mode_override: true", "allow_mode_override: false", 1)
	})
	uncovered := refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "uncovered-mode"}
	for i, proto := range []client.Protocol{client.HTTP1, client.HTTP2} {
		for _, chunked := range []bool{false, true} {
			x := g.send(t, proto, client.Request{Path: "/default/up", Body: payload.Bytes(payload.EICAR()), Chunked: chunked},
				origin.Answer{Body: payload.Random(1, 100)})
			x.wantProblem(t, "upload", uncovered)
			x.wantNoDownload(t, "upload")
		}
		// The response's headers wait for an answer, and of its body, which
		// Portcullis waits for, nothing comes.
		x := g.downloadCanaries(t, proto, "/hasty/down", 5<<10)
		x.wantProblem(t, "download", refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "upload-deadline"})
		g.awaitCount(t, float64(2*(i+1)), "outcome", "UNSCANNABLE", "cause", "uncovered-mode", "action", "block")
	}
	if n := g.count(t, "outcome", "CLEAN", "cause", "scanned"); n != 0 {
		t.Errorf("%v legs are reported as scanned", n)
	}
}

// A filter in mode NONE that does not claim to obey is refused at the headers.
func TestModeNone(t *testing.T) {
	t.Parallel()
	p := startPortcullis(t, rig.PortcullisOptions{Config: adaptiveConfig()})
	g := startEdited(t, p, func(y string) string {
		return strings.Replace(y, "x-portcullis-adaptive", "x-something-else", 1)
	})
	for _, proto := range []client.Protocol{client.HTTP1, client.HTTP2} {
		id := newID()
		x, err := g.try(t, id, proto, client.Request{Path: "/default/up", Body: payload.InfectedForm(id, 3000)}, origin.Answer{})
		if err != nil {
			t.Fatal(err)
		}
		x.wantNoUpload(t, "upload")
		x.wantProblem(t, "upload", refusal{http.StatusUnprocessableEntity, "request", "UNSCANNABLE", "uncovered-mode"})
		x = g.downloadCanaries(t, proto, "/default/down", 5000)
		x.wantProblem(t, "download", refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "uncovered-mode"})
	}
	g.awaitCount(t, 4, "outcome", "UNSCANNABLE", "cause", "uncovered-mode", "action", "block")
}
