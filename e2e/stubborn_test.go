package e2e_test

import (
	"net/http"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
)

// Whatever the origin does, the exchange ends, and no part of a body passes that
// never came whole.
func TestStubbornOrigin(t *testing.T) {
	t.Parallel()
	eachFaulty(t, func(t *testing.T, g *faulty) {
		for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
			g.originResets(t, p)
			g.originStalls(t, p)
			g.originIsEarly(t, p)
			g.originHints(t, p)
		}
		if err := g.origin.Close(); err != nil {
			t.Fatal(err)
		}
		// Envoy's own answer passes, although no engine sees it.
		x := g.ends(t, "origin down", newID(), client.HTTP1, client.Request{Path: "/x", Body: payload.Random(1, 5000)}, origin.Answer{})
		if x.Status != http.StatusServiceUnavailable {
			t.Errorf("origin down: status %d", x.Status)
		}
		if n, err := g.envoy.Stat("ext_proc.spurious_msgs_received"); err != nil || n != 0 {
			t.Errorf("%d spurious messages, error %v", n, err)
		}
	})
}

func (f *faulty) originResets(t *testing.T, p client.Protocol) {
	t.Helper()
	for _, at := range []int64{1, 100 << 10} {
		for _, length := range []int64{0, origin.Chunked} {
			id := newID()
			a := origin.Answer{Body: payload.Bytes(payload.Canaries(id, 200<<10)), ResetAt: at, Length: length}
			x := f.ends(t, "reset", id, p, client.Request{Path: "/x"}, a)
			x.wantNoDownload(t, "reset")
		}
	}
}

func (f *faulty) originStalls(t *testing.T, p client.Protocol) {
	t.Helper()
	id, never := newID(), make(chan struct{})
	a := origin.Answer{Body: payload.Bytes(payload.Canaries(id, 200<<10)), GateAt: 100 << 10, Gate: never}
	x := f.ends(t, "stall", id, p, client.Request{Path: "/x"}, a)
	x.wantNoDownload(t, "stall")
	if f.name == "duplex" { // in the buffered profile, Portcullis does not see a body that is not whole
		x.wantProblem(t, "stall", refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "upload-deadline"})
	}
}

// originIsEarly has the origin answer before it has read the upload, which the
// gate has released by then.
func (f *faulty) originIsEarly(t *testing.T, p client.Protocol) {
	t.Helper()
	body := payload.Random(3, 300<<10)
	x, err := f.try(t, newID(), p, client.Request{Path: "/x", Body: payload.Random(2, 900<<10)},
		origin.Answer{Early: true, Status: http.StatusInsufficientStorage, Body: body})
	if err != nil {
		t.Errorf("%v early: %v", p, err)
		return
	}
	if x.Status != http.StatusInsufficientStorage || x.SHA256 != body.SHA256() {
		t.Errorf("%v early: status %d, %d bytes, error %v", p, x.Status, x.Bytes, x.Err)
	}
	id := newID()
	x, err = f.try(t, id, p, client.Request{Path: "/x", Body: payload.Random(2, 900<<10)},
		origin.Answer{Early: true, Status: http.StatusInternalServerError, Body: payload.InfectedForm(id, 3000)})
	if err != nil {
		t.Errorf("%v early infected: %v", p, err)
		return
	}
	x.wantNoDownload(t, "early infected")
	x.wantProblem(t, "early infected", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
}

func (f *faulty) originHints(t *testing.T, p client.Protocol) {
	t.Helper()
	body := payload.Random(4, 5000)
	x := f.send(t, p, client.Request{Path: "/x"}, origin.Answer{Hints: true, Body: body})
	if x.Status != http.StatusOK || x.SHA256 != body.SHA256() {
		t.Errorf("%v hints: status %d, %d bytes", p, x.Status, x.Bytes)
	}
}
