package e2e_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/nullproc"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/envoy"
)

func startNull(t *testing.T, f nullproc.Fault) *nullproc.Server {
	t.Helper()
	s, err := nullproc.Start(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// nullGate is a gate that lets everything through.
func nullGate(t *testing.T, profile envoy.Profile) *gate {
	t.Helper()
	null, o := startNull(t, nullproc.Fault{}), startOrigin(t)
	e, address := startEnvoy(t, envoy.Options{Profile: profile, Upstream: o.Address(), Processor: null.Address()})
	return &gate{name: string(profile), address: address, envoy: e, origin: o}
}

// The instruments must be able to fail: with a processor that scans nothing,
// infected bodies cross in both directions and every tap hears them.
func TestHarnessSeesALeak(t *testing.T) {
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			g := nullGate(t, profile)
			for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
				id := newID()
				form := payload.InfectedForm(id, 40<<10)
				x, err := g.try(t, id, p, client.Request{Path: "/up", Body: form}, origin.Answer{})
				if err != nil {
					t.Fatal(err)
				}
				if !x.arrived || x.seen.Bytes != form.Size() || g.origin.Tap().Canaries(id) < 1000 {
					t.Errorf("%v upload: origin arrived=%v, %d bytes, %d canaries", p, x.arrived, x.seen.Bytes, g.origin.Tap().Canaries(id))
				}
				id = newID()
				form = payload.InfectedForm(id, 40<<10)
				x, err = g.try(t, id, p, client.Request{Path: "/down"}, origin.Answer{Body: form})
				if err != nil {
					t.Fatal(err)
				}
				if x.Bytes != form.Size() || x.client.Tap().Canaries(id) < 1000 || !bytes.Contains(x.Head, []byte(id)) {
					t.Errorf("%v download: %d bytes, %d canaries", p, x.Bytes, x.client.Tap().Canaries(id))
				}
			}
		})
	}
}

// What client and origin report is what was sent: the null processor changes no
// body, length, header or trailer.
func TestHarnessIsTransparent(t *testing.T) {
	for _, profile := range profiles() {
		t.Run(string(profile), func(t *testing.T) {
			t.Parallel()
			g := nullGate(t, profile)
			for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
				for _, f := range framings() {
					for _, size := range []int64{0, 1, 10 << 10, 1 << 20} {
						g.crosses(t, "none", p, f, payload.Random(uint64(size), size))
					}
				}
			}
			if n, err := g.envoy.Stat("ext_proc.spurious_msgs_received"); err != nil || n != 0 {
				t.Errorf("%d spurious messages, error %v", n, err)
			}
		})
	}
}

// The origin does what it is told, so that tests of stubborn origins test the gate.
func TestOriginObeys(t *testing.T) {
	t.Parallel()
	o := startOrigin(t)
	g := &gate{address: o.Address(), origin: o}
	body := payload.Random(3, 300<<10)

	x := g.send(t, client.HTTP1, client.Request{Method: http.MethodPost, Path: "/", Body: body},
		origin.Answer{Status: http.StatusTeapot, Body: body, Length: origin.Chunked, Trailer: http.Header{"X-Sum": {"1"}}})
	if x.Status != http.StatusTeapot || x.SHA256 != body.SHA256() || x.ContentLength != -1 || x.Trailer.Get("X-Sum") != "1" {
		t.Errorf("status %d, length %d, trailer %v", x.Status, x.ContentLength, x.Trailer)
	}
	if x.seen.SHA256 != body.SHA256() || x.seen.FirstByteAt.IsZero() || x.seen.EndAt.Before(x.seen.FirstByteAt) {
		t.Errorf("origin saw %d bytes, the first at %v", x.seen.Bytes, x.seen.FirstByteAt)
	}
	if x := g.send(t, client.HTTP1, client.Request{Path: "/"}, origin.Answer{Body: body, ResetAt: 100 << 10}); x.Err == nil || x.Bytes != 100<<10 {
		t.Errorf("reset: %d bytes, error %v", x.Bytes, x.Err)
	}
	held := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { close(held) })
	if x := g.send(t, client.HTTP2, client.Request{Path: "/"}, origin.Answer{Gate: held, Body: body}); x.HeadersIn < 100*time.Millisecond {
		t.Errorf("the headers came after %v", x.HeadersIn)
	}
	x = g.send(t, client.HTTP1, client.Request{Path: "/x/bytes/77", Method: http.MethodHead}, origin.Answer{Body: body})
	if x.ContentLength != body.Size() || x.Bytes != 0 {
		t.Errorf("HEAD: length %d, %d bytes", x.ContentLength, x.Bytes)
	}

	c := client.New(o.Address(), client.HTTP1)
	defer c.Close()
	res, err := c.Do(t.Context(), client.Request{Path: "/x/bytes/77"})
	if err != nil || res.Bytes != 77 {
		t.Errorf("by path: %d bytes, error %v", res.Bytes, err)
	}
}

// A raw connection carries what no library would send.
func TestRawClient(t *testing.T) {
	t.Parallel()
	o := startOrigin(t)
	ctx, cancel := context.WithTimeout(t.Context(), exchangeTimeout)
	defer cancel()
	raw, err := client.Dial(ctx, o.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	if err := raw.Send("GET /bytes/5 HTTP/1.1\r\nHost: x\r\n\r\nGET bad\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{http.StatusOK, http.StatusBadRequest} {
		if res, err := raw.Receive(http.MethodGet); err != nil || res.Status != want {
			t.Errorf("status %d, want %d, error %v", res.Status, want, err)
		}
	}
	if raw.Tap().Bytes() == 0 {
		t.Error("the tap heard nothing")
	}
}
