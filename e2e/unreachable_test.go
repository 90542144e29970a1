package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// An engine that cannot be reached blocks under fail: closed and passes, counted
// and marked, under fail: open. A policy with other engines does not notice.
func TestEngineUnreachable(t *testing.T) {
	t.Parallel()
	gone := filepath.Join(t.TempDir(), "gone.sock")
	p := startPortcullis(t, rig.PortcullisOptions{
		Config: yaml(
			[]string{`{name: builtin, builtin: {}}`, fmt.Sprintf(`{name: gone, clamd: {addresses: ["unix:%s"]}}`, gone)},
			[]string{
				`{name: default, engines: [builtin]}`,
				`{name: closed, engines: [gone]}`,
				`{name: open, engines: [gone], fail: open}`,
			},
		),
	})
	// The other policies can be served; what cannot be is named.
	if text, err := p.Get("/readyz"); err != nil || !strings.Contains(text, "policy closed: engine gone") {
		t.Errorf("/readyz: %q, %v", text, err)
	}
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			g := startGate(t, p, envoy.Options{Profile: profile})
			for _, proto := range []client.Protocol{client.HTTP1, client.HTTP2} {
				g.unreachable(t, proto)
			}
		})
	}
}

func (g *gate) unreachable(t *testing.T, p client.Protocol) {
	t.Helper()
	body := payload.Random(11, 10<<10)
	x := g.send(t, p, client.Request{Path: "/closed/up", Body: body}, origin.Answer{})
	x.wantNoUpload(t, "closed")
	x.wantProblem(t, "closed upload", refusal{http.StatusServiceUnavailable, "request", "ERROR", "engine-unreachable"})
	x = g.downloadCanaries(t, p, "/closed/down", 100)
	x.wantProblem(t, "closed download", refusal{http.StatusServiceUnavailable, "response", "ERROR", "engine-unreachable"})

	labels := []string{"outcome", "ERROR", "cause", "engine-unreachable", "action", "pass"}
	before := g.count(t, labels...)
	x = g.send(t, p, client.Request{Path: "/open/both", Body: body}, origin.Answer{Body: body})
	if x.Status != http.StatusOK || x.seen.SHA256 != body.SHA256() || x.SHA256 != body.SHA256() {
		t.Errorf("open: status %d, the origin got %d bytes, the client %d", x.Status, x.seen.Bytes, x.Bytes)
	}
	if v := x.seen.Header.Get("X-Portcullis-Verdict"); v != "ERROR; cause=engine-unreachable" {
		t.Errorf("open: the origin was told %q", v)
	}
	g.awaitCount(t, before+2, labels...)

	g.blocksUpload(t, "default", p, framing{name: "length"}, "raw")
	g.crosses(t, "default", p, framing{name: "length"}, body)
}
