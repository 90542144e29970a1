package e2e_test

import (
	"bufio"
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

// Messages that have no whole body (pieces, streams, tunnels) and Envoy's own
// answers: each has a behaviour of its own, and an end.
func TestBehaviours(t *testing.T) {
	t.Parallel()
	p := startPortcullis(t, rig.PortcullisOptions{Config: yaml(
		[]string{`{name: builtin, builtin: {}}`},
		[]string{
			`{name: default, engines: [builtin]}`,
			`{name: pieces, engines: [builtin], partial_content: pass}`,
			`{name: stream, engines: [builtin], response: skip}`,
		},
	)})
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			g := startGate(t, p, envoy.Options{Profile: profile})
			for _, proto := range []client.Protocol{client.HTTP1, client.HTTP2} {
				g.asksForRange(t, proto)
				g.getsRange(t, proto)
				g.serverSentEvents(t, proto)
			}
			g.tunnels(t)
			g.badFraming(t)
			g.lawful(t)
			g.spoolEmpty(t)
		})
	}
}

// The origin is asked for the whole, so that the client gets it, unless the policy
// lets pieces pass.
func (g *gate) asksForRange(t *testing.T, p client.Protocol) {
	t.Helper()
	body := payload.Random(91, 50<<10)
	for policy, kept := range map[string]bool{"default": false, "pieces": true} {
		x := g.send(t, p, client.Request{Path: "/" + policy + "/x", Header: http.Header{"Range": {"bytes=100-199"}, "If-Range": {`"v1"`}}},
			origin.Answer{Body: body})
		if x.Status != http.StatusOK || x.SHA256 != body.SHA256() {
			t.Errorf("%s: status %d, %d bytes", policy, x.Status, x.Bytes)
		}
		if got := x.seen.Header.Get("Range") != "" && x.seen.Header.Get("If-Range") != ""; got != kept {
			t.Errorf("%s: the origin was asked with %v", policy, x.seen.Header)
		}
	}
}

// A piece that comes nevertheless is refused, or scanned and passed by the policy
// that says so; malware in it never passes.
func (g *gate) getsRange(t *testing.T, p client.Protocol) {
	t.Helper()
	id := newID()
	piece := payload.Bytes(payload.Canaries(id, 3000))
	a := origin.Answer{
		Status: http.StatusPartialContent, Body: piece,
		Header: http.Header{"Content-Range": {fmt.Sprintf("bytes 0-%d/100000", piece.Size()-1)}},
	}
	asks := http.Header{"Range": {"bytes=0-2999"}}
	x, err := g.try(t, id, p, client.Request{Path: "/default/x", Header: asks}, a)
	if err != nil {
		t.Fatal(err)
	}
	x.wantNoDownload(t, "206")
	x.wantProblem(t, "206", refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "partial-content"})
	x = g.send(t, p, client.Request{Path: "/pieces/x", Header: asks}, a)
	if x.Status != http.StatusPartialContent || x.SHA256 != piece.SHA256() || x.Header.Get("Content-Range") == "" {
		t.Errorf("partial_content: pass: status %d, %d bytes", x.Status, x.Bytes)
	}
	a.Body = payload.Bytes(payload.EICAR())
	a.Header = http.Header{"Content-Range": {"bytes 0-67/100000"}}
	x = g.send(t, p, client.Request{Path: "/pieces/x", Header: asks}, a)
	x.wantProblem(t, "infected 206", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
}

// A stream of events is refused at its headers, not when a deadline has passed;
// a policy that does not scan it lets each event through as it comes.
func (g *gate) serverSentEvents(t *testing.T, p client.Protocol) {
	t.Helper()
	never := make(chan struct{})
	events := payload.Bytes([]byte("data: one\n\ndata: two\n\n"))
	events.ContentType = "text/event-stream; charset=utf-8"
	a := origin.Answer{Body: events, Length: origin.Chunked, GateAt: 11, Gate: never}
	id := newID()
	g.origin.Expect(id, a)
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	c := client.New(g.address, p)
	defer c.Close()
	x, err := c.Do(ctx, client.Request{Path: "/default/x", Header: http.Header{origin.IDHeader: {id}}})
	if err != nil {
		t.Fatal(err)
	}
	exchange{Result: x}.wantProblem(t, "events", refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "endless-stream"})
	if x.Took > 2*time.Second {
		t.Errorf("events: refused after %v", x.Took)
	}
	if p == client.HTTP1 && g.name != string(envoy.Buffered) { // there Envoy waits for the end of the stream
		g.eventPasses(t, a)
	}
}

// eventPasses requires that the first event comes while the second is not there.
func (g *gate) eventPasses(t *testing.T, a origin.Answer) {
	t.Helper()
	id := newID()
	g.origin.Expect(id, a)
	r := g.raw(t)
	defer func() { _ = r.Close() }()
	if err := r.Send("GET /stream/x HTTP/1.1\r\nHost: x\r\n" + origin.IDHeader + ": " + id + "\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(r), nil) //nolint:bodyclose // that would wait for the end of the stream
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || line != "data: one\n" || resp.StatusCode != http.StatusOK {
		t.Errorf("events, skipped: status %d, %q, error %v", resp.StatusCode, line, err)
	}
}

// CONNECT and upgrades are answered at once; nothing of them reaches the origin.
func (g *gate) tunnels(t *testing.T) {
	t.Helper()
	before := g.origin.Tap().Bytes()
	for _, request := range []string{
		"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
		"POST /default/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tls/1.0\r\nContent-Length: 5\r\n\r\nhello",
		"GET /default/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
	} {
		start := time.Now()
		r := g.raw(t)
		if err := r.Send(request); err != nil {
			t.Fatal(err)
		}
		what, _, _ := strings.Cut(request, "\r\n")
		res, err := r.Receive(http.MethodGet)
		_ = r.Close()
		took := time.Since(start)
		// Envoy ignores h2c, as RFC 9110 section 7.8 lets a server do.
		if h2c := strings.Contains(request, "h2c"); err != nil || !h2c && res.Status < 400 || took > time.Second {
			t.Errorf("%s: status %d after %v, error %v", what, res.Status, took, err)
		}
	}
	if n := g.origin.Tap().Bytes() - before; n > 2<<10 {
		t.Errorf("%d bytes reached the origin", n)
	}
}

// A chunk that is none breaks the connection: Envoy 1.40.0 cuts it a second later
// without an answer, and resets the side stream, so that there is none to pass on
// (measured). Nothing of the upload goes on.
func (g *gate) badFraming(t *testing.T) {
	t.Helper()
	id := newID()
	r := g.raw(t)
	defer func() { _ = r.Close() }()
	if err := r.Send("POST /default/x HTTP/1.1\r\nHost: x\r\n" + origin.IDHeader + ": " + id + "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // so that it is held when the fault comes
	if err := r.Send("zz\r\n"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	res, err := r.Receive(http.MethodPost)
	if took := time.Since(start); took > 5*time.Second || err == nil && res.Status != http.StatusBadRequest {
		t.Errorf("a bad chunk: status %d after %v, error %v", res.Status, took, err)
	}
	if s, ok := g.origin.Seen(id); ok && (!g.showsHeaders(s) || s.Bytes != 0) {
		t.Errorf("a bad chunk: LEAK: the origin got %d bytes", s.Bytes)
	}
}

// Envoy's own timer reaches the client while Portcullis holds the upload and
// would wait longer. In the adaptive profile a response before the body that was
// asked for may as well be an origin's to an upload that nobody scanned, so there
// the refusal of such takes its place.
func TestEnvoysTimeout(t *testing.T) {
	t.Parallel()
	config := yaml([]string{`{name: builtin, builtin: {}}`}, []string{
		`{name: default, engines: [builtin], upload_timeout: 5m, upload_idle_timeout: 2m}`,
	})
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			p := startPortcullis(t, rig.PortcullisOptions{Config: config}) // its own: what the others hold is none of this one's
			g := startGate(t, p, envoy.Options{Profile: profile, ScanTimeout: 100 * time.Millisecond, UploadTimeout: 100 * time.Millisecond})
			r := g.raw(t)
			defer func() { _ = r.Close() }()
			start := time.Now()
			if err := r.SetDeadline(start.Add(exchangeTimeout)); err != nil {
				t.Fatal(err)
			}
			if err := r.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhello"); err != nil {
				t.Fatal(err)
			}
			res, err := r.Receive(http.MethodPost)
			want := http.StatusRequestTimeout
			if profile == envoy.Adaptive {
				want = http.StatusBadGateway
			}
			if err != nil || res.Status != want {
				t.Errorf("status %d after %v, error %v: %s", res.Status, time.Since(start), err, res.Head)
			}
			if n := g.origin.Tap().Bytes(); n != 0 {
				t.Errorf("LEAK: %d bytes reached the origin", n)
			}
			g.spoolEmpty(t)
		})
	}
}

// A spool whose disk is used up sheds, frees what it held, and serves what fits.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	g := startGate(t, startPortcullis(t, rig.PortcullisOptions{Config: yaml([]string{`{name: builtin, builtin: {}}`}, []string{
		`{name: default, engines: [builtin], max_body_bytes: 1048576}`,
	}) + fmt.Sprintf("spool: {memory_bytes: 65536, body_memory_bytes: 16384, disk_dir: %q, disk_bytes: 1048576}\n", t.TempDir())}), envoy.Options{})
	gate, held := make(chan struct{}), make(chan exchange, 1)
	big := payload.Random(92, 900<<10)
	go func() {
		x, err := g.try(t, newID(), client.HTTP1, client.Request{Path: "/x", Body: big, Gate: gate, GateAt: 800 << 10}, origin.Answer{})
		if err != nil {
			t.Error(err)
		}
		held <- x
	}()
	awaitZero(t, "bytes until the disk is nearly used up", func() (int64, error) {
		n, err := g.gauge("portcullis_spool_disk_bytes")
		return max(0, 790<<10-n), err
	})
	for range 3 {
		// (Not HTTP/1.1: see crowd.)
		x := g.send(t, client.HTTP2, client.Request{Path: "/x", Body: payload.Random(93, 900<<10)}, origin.Answer{})
		x.wantNoUpload(t, "disk full")
		x.wantProblem(t, "disk full", refusal{http.StatusServiceUnavailable, "request", "ERROR", "overload"})
	}
	close(gate)
	if x := <-held; x.Status != http.StatusOK || x.seen.SHA256 != big.SHA256() {
		t.Errorf("the body that was there before: status %d, the origin got %d bytes: %s", x.Status, x.seen.Bytes, x.Head)
	}
	g.spoolEmpty(t)
	g.crosses(t, "x", client.HTTP1, framing{name: "length"}, big)
}
