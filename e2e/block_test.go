package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/envoy"
)

// infected are the bodies that every engine must stop, with their canaries.
func infected(id string) map[string]payload.Body {
	return map[string]payload.Body{
		"raw":        payload.Bytes(payload.EICAR()),
		"form":       payload.InfectedForm(id, 200),
		"large-form": payload.InfectedForm(id, 400<<10),
	}
}

// No byte of an infected body reaches the far side: the origin of an upload does
// not even see its headers, the client of a download gets the refusal only.
func (s *shared) blocks(t *testing.T) {
	s.each(t, func(t *testing.T, g *gate, engine string) {
		for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
			for _, f := range framings() {
				for name := range infected("") {
					g.blocksUpload(t, engine, p, f, name)
					g.blocksDownload(t, engine, p, f, name)
				}
			}
		}
	})
}

func (g *gate) blocksUpload(t *testing.T, engine string, p client.Protocol, f framing, name string) {
	t.Helper()
	what := fmt.Sprintf("upload %v %s %s", p, f.name, name)
	id := newID()
	x, err := g.try(t, id, p, client.Request{
		Path: "/" + engine + "/upload", Body: infected(id)[name], Chunked: f.chunked, Trailer: f.trailers,
	}, origin.Answer{})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	x.wantNoUpload(t, what)
	x.wantProblem(t, what, refusal{http.StatusForbidden, "request", "INFECTED", "malware"})
}

func (g *gate) blocksDownload(t *testing.T, engine string, p client.Protocol, f framing, name string) {
	t.Helper()
	what := fmt.Sprintf("download %v %s %s", p, f.name, name)
	id := newID()
	a := origin.Answer{Body: infected(id)[name], Trailer: f.trailers, Header: http.Header{"X-Origin-Secret": {"1"}}}
	if f.chunked {
		a.Length = origin.Chunked
	}
	x, err := g.try(t, id, p, client.Request{Path: "/" + engine + "/download"}, a)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if !x.arrived {
		t.Errorf("%s: the origin was not asked", what)
	}
	x.wantNoDownload(t, what)
	x.wantProblem(t, what, refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
}

// wantNoUpload requires that the origin got nothing of the exchange; of one whose
// headers may leave early, that it got headers alone, and no end of a body.
func (x exchange) wantNoUpload(t *testing.T, what string) {
	t.Helper()
	switch {
	case x.arrived && x.gate.showsHeaders(x.seen):
		if x.seen.Bytes != 0 || x.seen.Err == nil {
			t.Errorf("%s: LEAK: the origin got %d bytes of the body, ended by %v", what, x.seen.Bytes, x.seen.Err)
		}
	case x.arrived:
		t.Errorf("%s: LEAK: the origin got the headers and %d bytes of the body", what, x.seen.Bytes)
	}
	if n := x.gate.origin.Tap().Canaries(x.id); n != 0 {
		t.Errorf("%s: LEAK: %d canaries on the wire to the origin", what, n)
	}
}

// showsHeaders reports whether the origin may see the headers of an upload before
// its verdict. In the adaptive profile Envoy 1.40.0 lets them go when it is asked
// for FULL_DUPLEX, which is for a length that is not declared or over its buffer
// limit, unless the whole body has come by then (measured). Of a body that it is
// asked to buffer it keeps them.
func (g *gate) showsHeaders(s origin.Seen) bool {
	const bufferLimit = 1 << 20 // the generator's
	return g.name == string(envoy.Adaptive) && (s.ContentLength < 0 || s.ContentLength > bufferLimit)
}

// wantNoDownload requires that the client got nothing of the origin's body.
func (x exchange) wantNoDownload(t *testing.T, what string) {
	t.Helper()
	if n := x.client.Tap().Canaries(x.id); n != 0 || bytes.Contains(x.Head, payload.EICAR()) {
		t.Errorf("%s: LEAK: %d canaries on the wire to the client, status %d", what, n, x.Status)
	}
	if x.Header.Get("X-Origin-Secret") != "" {
		t.Errorf("%s: the refusal has headers of the origin", what)
	}
}

// refusal is what a blocked client is told.
type refusal struct {
	status              int
	leg, outcome, cause string
}

// wantProblem requires the RFC 9457 answer that says so, complete and not to be cached.
func (x exchange) wantProblem(t *testing.T, what string, want refusal) {
	t.Helper()
	var got struct {
		Type, Title, Exchange, Leg, Outcome, Cause string
		Status                                     int
	}
	if err := json.Unmarshal(x.Head, &got); err != nil || x.Err != nil {
		t.Errorf("%s: status %d, body %q, errors %v, %v", what, x.Status, x.Head, err, x.Err)
		return
	}
	if told := (refusal{got.Status, got.Leg, got.Outcome, got.Cause}); told != want || x.Status != want.status {
		t.Errorf("%s: status %d, told %v, want %v", what, x.Status, told, want)
	}
	if got.Type == "" || got.Title == "" || got.Exchange == "" {
		t.Errorf("%s: a member is missing in %s", what, x.Head)
	}
	for name, value := range map[string]string{
		"Content-Type":         "application/problem+json",
		"Cache-Control":        "no-store",
		"X-Portcullis-Verdict": want.outcome + "; cause=" + want.cause,
	} {
		if x.Header.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", what, name, x.Header.Get(name), value)
		}
	}
	if retry := x.Header.Get("Retry-After"); (retry != "") != (want.status == http.StatusServiceUnavailable) {
		t.Errorf("%s: status %d with Retry-After %q", what, want.status, retry)
	}
}
