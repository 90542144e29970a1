package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
)

// framing is how the end of a body is told.
type framing struct {
	name     string
	chunked  bool // no Content-Length; HTTP/2 has only that difference
	trailers http.Header
}

func framings() []framing {
	return []framing{
		{name: "length"},
		{name: "chunked", chunked: true},
		{name: "trailers", chunked: true, trailers: http.Header{"X-E2e-Sum": {"a=b; c"}, "X-E2e-Twice": {"1", "2"}}},
	}
}

// endToEnd are headers whose values a careless hop would change.
func endToEnd() http.Header {
	return http.Header{
		"Etag":          {`W/"67ab43-5f0e"`},
		"X-E2e-Empty":   {""},
		"X-E2e-Twice":   {"one", "two, three"},
		"X-E2e-Latin":   {"caf\xe9 \xff"},
		"X-E2e-Long":    {string(make7bit(4000))},
		"Cache-Control": {"no-transform, max-age=60"},
	}
}

func make7bit(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = '!' + byte(i%90)
	}
	return p
}

// crosses sends body up and, in the same exchange, down, and requires that
// nothing of it was changed. The path chooses the policy.
func (g *gate) crosses(t *testing.T, policy string, p client.Protocol, f framing, body payload.Body) {
	t.Helper()
	what := fmt.Sprintf("%s /%s %v %s %d bytes", g.name, policy, p, f.name, body.Size())
	answer := origin.Answer{Header: endToEnd(), Body: body, Trailer: f.trailers}
	if f.chunked {
		answer.Length = origin.Chunked
	}
	x := g.send(t, p, client.Request{
		Method: http.MethodPost, Path: "/" + policy + "/clean?a=%20b&c", Header: endToEnd(),
		Body: body, Chunked: f.chunked, Trailer: f.trailers,
	}, answer)
	if !x.arrived {
		t.Errorf("%s: status %d, nothing reached the origin: %s", what, x.Status, x.Head)
		return
	}
	if x.Status != http.StatusOK || x.Err != nil || x.seen.Err != nil || x.seen.Times != 1 {
		t.Errorf("%s: status %d, arrived %d times, errors: client %v, origin %v", what, x.Status, x.seen.Times, x.Err, x.seen.Err)
	}
	want := body.SHA256()
	if x.seen.Bytes != body.Size() || x.seen.SHA256 != want {
		t.Errorf("%s: the origin got %d other bytes", what, x.seen.Bytes)
	}
	if x.Bytes != body.Size() || x.SHA256 != want {
		t.Errorf("%s: the client got %d other bytes", what, x.Bytes)
	}
	if want := "/" + policy + "/clean?a=%20b&c"; x.seen.Path != want || x.seen.Method != http.MethodPost {
		t.Errorf("%s: the origin was asked %s %s", what, x.seen.Method, x.seen.Path)
	}
	g.sameLength(t, what+": upload", x.seen.ContentLength, f, body)
	g.sameLength(t, what+": download", x.ContentLength, f, body)
	g.sameHeaders(t, what+": upload", x.seen.Header, g.requestAdditions())
	g.sameHeaders(t, what+": download", x.Header, []string{"Date", "Trailer", "Connection"})
	if diff := cmp.Diff(f.trailers, orNil(x.seen.Trailer)); diff != "" {
		t.Errorf("%s: request trailers (-sent +arrived):\n%s", what, diff)
	}
	if diff := cmp.Diff(f.trailers, orNil(x.Trailer)); diff != "" {
		t.Errorf("%s: response trailers (-sent +arrived):\n%s", what, diff)
	}
}

func (g *gate) sameLength(t *testing.T, what string, got int64, f framing, body payload.Body) {
	t.Helper()
	switch {
	case !f.chunked && got != body.Size():
		t.Errorf("%s: Content-Length %d, was sent as %d", what, got, body.Size())
	case f.chunked && got != -1 && body.Size() > 0:
		t.Errorf("%s: Content-Length %d, was sent without", what, got)
	}
}

// requestAdditions are the headers that a proxy and the gate put on a request.
func (g *gate) requestAdditions() []string {
	all := []string{
		"X-Portcullis-Verdict", "X-Null-Processor", "X-Request-Id", "X-Forwarded-Proto",
		"X-Envoy-Expected-Rq-Timeout-Ms", "User-Agent", "Trailer", origin.IDHeader,
	}
	if g.proxy != "" {
		all = append(all, "Via") // TestEgressHeaders looks at it
	}
	return all
}

func (g *gate) sameHeaders(t *testing.T, what string, got http.Header, additions []string) {
	t.Helper()
	got = got.Clone()
	for _, name := range append(slices.Clone(additions), "Content-Length") {
		got.Del(name)
	}
	want := endToEnd()
	want.Set("Content-Type", "application/octet-stream")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: headers (-sent +arrived):\n%s", what, diff)
	}
}

// orNil makes "none" and "no trailers announced" the same.
func orNil(h http.Header) http.Header {
	if len(h) == 0 {
		return nil
	}
	return h
}
