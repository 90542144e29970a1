package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
)

// limits of the shared gates.
const (
	bufferedLimit = 4 << 20 // Envoy's, of the buffered profile
	smallLimit    = 64 << 10
)

// shared are the processes that most tests use together: one Portcullis with
// every engine and, per profile, an Envoy. The first element of the path
// chooses the policy.
type shared struct {
	portcullis *rig.Portcullis
	gates      []*gate  // one per profile
	engines    []string // policies named for the engine that alone decides
	absent     map[string]string
}

// TestGate holds everything that needs no process of its own.
func TestGate(t *testing.T) {
	s := startShared(t)
	t.Run("blocks", s.blocks)
	t.Run("clean", s.clean)
	t.Run("large", s.large)
	t.Run("bodiless", s.bodiless)
	t.Run("limit", s.limit)
	t.Run("answers", s.answers)
	t.Run("headers", s.headers)
	t.Run("report", s.report)
	t.Run("skip", s.skip)
	t.Run("codings", s.codings)
	t.Run("expect", s.expect)
	t.Run("upgrade", s.upgrade)
	t.Run("route-policy", s.routePolicy)
	t.Run("access-log", s.accessLog)
	t.Run("quiet", s.quiet) // last: what all of the above left behind
}

func startShared(t *testing.T) *shared {
	t.Helper()
	s := &shared{absent: map[string]string{}}
	config := s.config(t)
	s.portcullis = startPortcullis(t, rig.PortcullisOptions{Config: config})
	for _, profile := range profiles() {
		s.gates = append(s.gates, startGate(t, s.portcullis, envoy.Options{Profile: profile, MaxBodyBytes: bufferedLimit}))
	}
	return s
}

func (s *shared) config(t *testing.T) string {
	t.Helper()
	engines := []string{`{name: builtin, builtin: {}}`}
	policies := []string{
		`{name: default, engines: [builtin]}`,
		`{name: builtin, engines: [builtin]}`,
		fmt.Sprintf(`{name: small, engines: [builtin], max_body_bytes: %d}`, smallLimit),
		`{name: report, engines: [builtin], enforce: false}`,
		`{name: names, engines: [builtin], show_threats: true}`,
		`{name: uploads, engines: [builtin], response: skip}`,
		`{name: downloads, engines: [builtin], request: skip}`,
	}
	s.engines = []string{"builtin", "clamav", "cloud", "cloud-advanced"}
	if hasClamd() {
		clamd := clamdtest.StartReal(t, clamdtest.RealOptions{})
		engines = append(engines, fmt.Sprintf(`{name: clamav, clamd: {addresses: [%q]}}`, clamd.Unix()))
		policies = append(policies, `{name: clamav, engines: [clamav]}`)
	} else {
		s.absent["clamav"] = "no clamd on this machine"
	}
	_, cloud := startCloud(t)
	engines = append(engines,
		fmt.Sprintf(`{name: cloud, cloudmersive: {%s}}`, cloud),
		fmt.Sprintf(`{name: cloud-advanced, cloudmersive: {%s, advanced: {allow_invalid_files: true}}}`, cloud))
	policies = append(policies, `{name: cloud, engines: [cloud]}`, `{name: cloud-advanced, engines: [cloud-advanced]}`)
	return yaml(engines, policies)
}

// yaml is a configuration in which the first element of the path names the policy.
func yaml(engines, policies []string) string {
	var b strings.Builder
	list := func(key string, items []string) {
		fmt.Fprintf(&b, "%s:\n", key)
		for _, item := range items {
			fmt.Fprintf(&b, "  - %s\n", item)
		}
	}
	list("engines", engines)
	list("policies", policies)
	var rules []string
	for _, p := range policies {
		name, _, _ := strings.Cut(strings.TrimPrefix(p, "{name: "), ",")
		rules = append(rules, fmt.Sprintf(`{when: 'request.path.startsWith("/%s/")', policy: %s}`, name, name))
	}
	list("rules", rules)
	return b.String()
}

func hasClamd() bool {
	if _, err := exec.LookPath("clamd"); err == nil {
		return true
	}
	_, err := os.Stat("/usr/sbin/clamd") // often not on a plain user's PATH
	return err == nil
}

// each runs f for every profile and engine, side by side.
func (s *shared) each(t *testing.T, f func(t *testing.T, g *gate, engine string)) {
	t.Helper()
	for _, g := range s.gates {
		for _, engine := range s.engines {
			t.Run(g.name+"/"+engine, func(t *testing.T) {
				t.Parallel()
				if reason, ok := s.absent[engine]; ok {
					missing(t, reason)
				}
				f(t, g, engine)
			})
		}
	}
}

// eachGate runs f for every profile, side by side.
func (s *shared) eachGate(t *testing.T, f func(t *testing.T, g *gate)) {
	t.Helper()
	for _, g := range s.gates {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			f(t, g)
		})
	}
}

// Clean bodies of every size, framing and protocol arrive as they were sent, in
// both directions of one exchange.
func (s *shared) clean(t *testing.T) {
	s.each(t, func(t *testing.T, g *gate, engine string) {
		for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
			for _, f := range framings() {
				for i, size := range []int64{0, 1, 10 << 10, 1 << 20} {
					if size == 0 && f.trailers != nil && g.name == string(envoy.Adaptive) {
						continue // see TestAdaptiveEmptyWithTrailers
					}
					// A seed of its own each time: no verdict comes from a cache.
					seed := uint64(i) + uint64(len(f.name))<<8 + uint64(p)<<16 + uint64(len(g.name+engine))<<24
					g.crosses(t, engine, p, f, payload.Random(seed, size))
				}
			}
		}
	})
	t.Run("duplex/http2-origin", func(t *testing.T) {
		t.Parallel()
		g := startGate(t, s.portcullis, envoy.Options{UpstreamHTTP2: true})
		for _, f := range framings() {
			g.crosses(t, "builtin", client.HTTP2, f, payload.Random(91, 1<<20+1))
		}
	})
}

// 100 MiB go through the duplex profile unchanged, both ways, while Portcullis
// keeps within its memory budget.
func (s *shared) large(t *testing.T) {
	const size = 100 << 20
	g, body := s.gates[0], payload.Random(7, size)
	for _, f := range []framing{framings()[0], framings()[1]} {
		x := g.send(t, client.HTTP1, client.Request{Path: "/builtin/large", Body: body, Chunked: f.chunked}, origin.Answer{})
		if x.Status != http.StatusOK || x.seen.Bytes != size || x.seen.SHA256 != x.SentSHA256 {
			t.Errorf("upload, %s: status %d, the origin got %d bytes of %d: %s", f.name, x.Status, x.seen.Bytes, x.Sent, x.Head)
		}
		g.sameLength(t, "upload", x.seen.ContentLength, f, body)
	}
	x := g.send(t, client.HTTP1, client.Request{Path: "/builtin/large"}, origin.Answer{Body: body})
	if x.Status != http.StatusOK || x.Err != nil || x.ContentLength != size || x.SHA256 != body.SHA256() {
		t.Errorf("download: status %d, %d bytes, length %d, error %v", x.Status, x.Bytes, x.ContentLength, x.Err)
	}
	if u, err := s.portcullis.Usage(); err == nil && !raceDetector && u.PeakRSS > 256<<20+64<<20 {
		t.Errorf("peak memory %d MiB", u.PeakRSS>>20)
	}
}

// Messages that can have no body pass with their headers, Content-Length of HEAD
// and 304 included.
func (s *shared) bodiless(t *testing.T) {
	body := payload.Random(5, 1234)
	s.eachGate(t, func(t *testing.T, g *gate) {
		for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
			for _, row := range []struct {
				method string
				status int
				length int64
			}{
				{http.MethodHead, http.StatusOK, body.Size()},
				{http.MethodGet, http.StatusNoContent, 0},
				{http.MethodGet, http.StatusNotModified, 0},
				{http.MethodDelete, http.StatusOK, 0},
			} {
				a := origin.Answer{Status: row.status, Header: endToEnd()}
				if row.length > 0 {
					a.Body = body
				}
				x := g.send(t, p, client.Request{Method: row.method, Path: "/builtin/none"}, a)
				if x.Status != row.status || x.Bytes != 0 || x.seen.Method != row.method {
					t.Errorf("%v %s: status %d, want %d: %s", p, row.method, x.Status, row.status, x.Head)
				}
				if row.length > 0 && x.ContentLength != row.length {
					t.Errorf("%v %s: Content-Length %d, want %d", p, row.method, x.ContentLength, row.length)
				}
				if x.Header.Get("Etag") != endToEnd().Get("Etag") {
					t.Errorf("%v %s: ETag %q", p, row.method, x.Header.Get("Etag"))
				}
			}
		}
	})
}

// After all of that, Envoy had nothing to complain about and no exchange is left.
func (s *shared) quiet(t *testing.T) {
	for _, g := range s.gates {
		for _, stat := range []string{
			"ext_proc.spurious_msgs_received", "ext_proc.streams_failed", "ext_proc.failure_mode_allowed",
			"ext_proc.message_timeouts", "ext_proc.rejected_header_mutations",
		} {
			if n, err := g.envoy.Stat(stat); err != nil || n != 0 {
				t.Errorf("%s: %s is %d, error %v", g.name, stat, n, err)
			}
		}
		awaitZero(t, g.name+": open streams at Envoy", func() (int64, error) {
			return g.envoy.Stat("cluster.portcullis.upstream_rq_active")
		})
	}
	for _, line := range s.portcullis.Log() {
		if line["level"] == "ERROR" && line["panic"] != nil {
			t.Errorf("portcullis panicked: %v", line)
		}
	}
}
