package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

// baseline is what an idle Portcullis has open.
type baseline struct {
	files      int
	goroutines int64
}

func (g *gate) baseline(t *testing.T) baseline {
	t.Helper()
	u, err := g.portcullis.Usage()
	if err != nil {
		t.Skipf("no /proc on this system: %v", err)
	}
	n, err := g.gauge("go_goroutines")
	if err != nil {
		t.Fatal(err)
	}
	return baseline{u.Files, n}
}

// calm waits until nothing is open or held any more than it was before.
func (g *gate) calm(t *testing.T, before baseline) {
	t.Helper()
	g.spoolEmpty(t)
	awaitZero(t, "open streams at Envoy", func() (int64, error) { return g.envoy.Stat("cluster.portcullis.upstream_rq_active") })
	awaitZero(t, "open files more than before", func() (int64, error) {
		u, err := g.portcullis.Usage()
		return int64(max(0, u.Files-before.files)), err
	})
	awaitZero(t, "goroutines more than before", func() (int64, error) {
		n, err := g.gauge("go_goroutines")
		return max(0, n-before.goroutines), err
	})
	if t.Failed() {
		stacks, err := g.portcullis.Get("/debug/pprof/goroutine?debug=1")
		t.Logf("goroutines, error %v:\n%s", err, stacks)
	}
}

// leaving is a gate whose engine "cloud" can be told to hang, and whose bodies are
// soon on disk.
type leaving struct {
	*gate
	cloud  *cloudmersivetest.Server
	before baseline
}

func startLeaving(t *testing.T, profile envoy.Profile) *leaving {
	t.Helper()
	cloud, fields := startCloud(t)
	config := yaml(
		[]string{`{name: builtin, builtin: {}}`, fmt.Sprintf(`{name: cloud, cloudmersive: {%s}, canary: {timeout: 2s}}`, fields)},
		[]string{`{name: default, engines: [builtin]}`, `{name: cloud, engines: [cloud], scan_timeout: 10s}`},
	) + fmt.Sprintf("spool: {disk_dir: %q, body_memory_bytes: 65536}\n", t.TempDir())
	p := startPortcullis(t, rig.PortcullisOptions{Config: config})
	l := &leaving{gate: startGate(t, p, envoy.Options{Profile: profile, MaxBodyBytes: 32 << 20}), cloud: cloud}
	l.crosses(t, "default", client.HTTP1, framing{name: "length"}, payload.Random(81, 900<<10))
	l.crosses(t, "cloud", client.HTTP1, framing{name: "length"}, payload.Random(82, 900<<10))
	l.before = l.baseline(t)
	return l
}

// raw opens a connection that the caller closes.
func (g *gate) raw(t *testing.T) *client.Raw {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	r, err := client.Dial(ctx, g.address)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eachLeaving runs f for every profile, each with processes of its own.
func eachLeaving(t *testing.T, f func(t *testing.T, l *leaving)) {
	t.Helper()
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			f(t, startLeaving(t, profile))
		})
	}
}

// Clients that leave, whenever they do, leave nothing behind, and nothing of what
// they left is taken for a whole body.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	eachLeaving(t, func(t *testing.T, l *leaving) {
		const size = 900_000
		id := newID()
		head := func(method, path string, length int) string {
			return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: %d\r\n\r\n", method, path, origin.IDHeader, id, length)
		}
		body := string(payload.Canaries(id, size))[:size]
		for _, row := range []struct {
			step, send string
			until      func() bool // before the client leaves
		}{
			{"amid headers", head("POST", "/default/x", size)[:20], nil},
			{"after headers", head("POST", "/default/x", size), l.open(t)},
			{"amid the body", head("POST", "/default/x", size) + body[:size/2], l.open(t)},
			{"before the last byte", head("POST", "/default/x", size) + body[:size-1], l.open(t)},
			{"waiting for the verdict", head("POST", "/cloud/x", size) + body, l.scanning()},
		} {
			l.cloud.Always(cloudmersivetest.Hang())
			for range 5 {
				r := l.raw(t)
				if err := r.Send(row.send); err != nil {
					t.Fatal(err)
				}
				if row.until != nil {
					until(t, row.step, row.until)
				}
				_ = r.Close() // this is the test
			}
			l.cloud.Always(cloudmersivetest.Answer()) // or probes of it are under way
			l.calm(t, l.before)
			if n := l.origin.Tap().Canaries(id); n != 0 {
				t.Errorf("%s: LEAK: %d canaries reached the origin", row.step, n)
			}
		}
		l.leavesDownload(t)
	})
}

// open reports whether an exchange is open.
func (g *gate) open(t *testing.T) func() bool {
	return func() bool {
		if g.name == string(envoy.Buffered) {
			return true // Portcullis may see only headers of it, soon answered
		}
		n, err := g.gauge("portcullis_exchanges_open")
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}

// scanning reports whether the engine has been asked since it was last said so.
func (l *leaving) scanning() func() bool {
	known := len(l.cloud.Requests())
	return func() bool {
		now := len(l.cloud.Requests())
		asked := now > known
		known = now
		return asked
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never came so far", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// leavesDownload leaves downloads while they are withheld, amid their release,
// and not at all: the client just stops reading.
func (l *leaving) leavesDownload(t *testing.T) {
	t.Helper()
	const size = 20 << 20
	ask := func(path string, a origin.Answer) *client.Raw {
		id := newID()
		l.origin.Expect(id, a)
		r := l.raw(t)
		if err := r.Send(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", path, origin.IDHeader, id)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	asked := l.scanning()
	l.cloud.Always(cloudmersivetest.Hang())
	r := ask("/cloud/x", origin.Answer{Body: payload.Random(82, size)})
	until(t, "withheld", asked)
	_ = r.Close()
	l.cloud.Always(cloudmersivetest.Answer())
	l.calm(t, l.before)

	for range 3 {
		r = ask("/default/x", origin.Answer{Body: payload.Random(83, size)})
		if _, err := io.ReadFull(r, make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	l.calm(t, l.before)

	// Envoy has taken all of it, so that Portcullis is free while the client sleeps.
	r = ask("/default/x", origin.Answer{Body: payload.Random(84, size)})
	defer func() { _ = r.Close() }()
	if _, err := io.ReadFull(r, make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	l.calm(t, l.before)
}

// An origin that breaks or answers at any step, before, amid and after it got
// what was released, leaves nothing behind either.
func TestOriginLeaves(t *testing.T) {
	t.Parallel()
	eachLeaving(t, func(t *testing.T, l *leaving) {
		size := int64(6 << 20)
		if l.name == string(envoy.Buffered) {
			size = 1 << 20 // more of HTTP/2 is over Envoy's limit there, its stream window
		}
		up, down := payload.Random(85, size), payload.Random(86, size)
		never := make(chan struct{})
		for _, row := range []struct {
			step string
			a    origin.Answer
			want []int // none: the client may see anything but a whole answer
		}{
			{"resets before it reads", origin.Answer{Early: true, ResetAt: origin.AtOnce}, []int{http.StatusServiceUnavailable}},
			{"resets when it has read", origin.Answer{ResetAt: origin.AtOnce}, []int{http.StatusServiceUnavailable}},
			{"resets at the first byte", origin.Answer{Body: down, ResetAt: 1}, nil},
			{"resets amid its answer", origin.Answer{Body: down, ResetAt: size / 2}, nil},
			{"resets amid a chunked answer", origin.Answer{Body: down, ResetAt: size / 2, Length: origin.Chunked}, nil},
			{"answers early, without a body", origin.Answer{Early: true, Status: http.StatusForbidden}, []int{http.StatusForbidden, 0}},
			{"answers early, with a body", origin.Answer{Early: true, Status: http.StatusNotFound, Body: down}, []int{http.StatusNotFound, 0}},
			{"answers early and resets", origin.Answer{Early: true, Body: down, ResetAt: size / 4}, nil},
		} {
			for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
				x, err := l.try(t, newID(), p, client.Request{Path: "/default/x", Body: up, Chunked: p == client.HTTP2}, row.a)
				if err == nil && x.Err == nil && x.Status == http.StatusOK {
					t.Errorf("%v %s: status %d with %d bytes, as if it were whole", p, row.step, x.Status, x.Bytes)
				}
				// Status 0: the connection broke, which an early answer may do to a
				// client that still sends. In the adaptive profile headers go before
				// the body, and an answer before Envoy has shown any of that looks
				// like one to an upload that nobody scanned: 502.
				if l.name == string(envoy.Adaptive) && x.Status == http.StatusBadGateway {
					continue
				}
				if row.want != nil && x.Status != row.want[0] && x.Status != row.want[len(row.want)-1] {
					t.Errorf("%v %s: status %d, error %v: %.200s", p, row.step, x.Status, err, x.Head)
				}
			}
			l.calm(t, l.before)
		}
		// A client that leaves an origin that says nothing.
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			id := newID()
			l.origin.Expect(id, origin.Answer{Gate: never})
			c := client.New(l.address, client.HTTP2)
			if _, err := c.Do(ctx, client.Request{Path: "/default/x", Body: up, Header: http.Header{origin.IDHeader: {id}}}); err == nil {
				t.Error("a silent origin answered")
			}
			cancel()
			c.Close()
		}
		l.calm(t, l.before)
		l.crosses(t, "default", client.HTTP2, framing{name: "length"}, payload.Random(87, 900<<10))
	})
}
