package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
)

// downloadCanaries asks for at least size bytes of canaries and requires that
// none of them comes.
func (g *gate) downloadCanaries(t *testing.T, p client.Protocol, path string, size int) exchange {
	t.Helper()
	id := newID()
	x, err := g.try(t, id, p, client.Request{Path: path}, origin.Answer{Body: payload.Bytes(payload.Canaries(id, size))})
	if err != nil {
		t.Fatal(err)
	}
	x.wantNoDownload(t, path)
	return x
}

// A body over the limit is refused: at the headers if its length is declared,
// else at the first byte too many. A body of exactly the limit passes.
func (s *shared) limit(t *testing.T) {
	s.eachGate(t, func(t *testing.T, g *gate) {
		for _, f := range []framing{{name: "length"}, {name: "chunked", chunked: true}} {
			length := int64(0)
			if f.chunked {
				length = origin.Chunked
			}
			for _, over := range []int64{1, 500 << 10} {
				id := newID()
				filler := payload.Bytes(payload.Canaries(id, int(smallLimit+over)))
				x, err := g.try(t, id, client.HTTP1, client.Request{Path: "/small/up", Body: filler, Chunked: f.chunked}, origin.Answer{})
				if err != nil {
					t.Errorf("upload %s: %v", f.name, err)
					continue
				}
				x.wantNoUpload(t, f.name)
				x.wantProblem(t, "upload "+f.name, refusal{http.StatusRequestEntityTooLarge, "request", "UNSCANNABLE", "too-large"})

				x, err = g.try(t, id, client.HTTP1, client.Request{Path: "/small/down"}, origin.Answer{Body: filler, Length: length})
				if err != nil {
					t.Errorf("download %s: %v", f.name, err)
					continue
				}
				x.wantNoDownload(t, f.name)
				x.wantProblem(t, "download "+f.name, refusal{http.StatusBadGateway, "response", "UNSCANNABLE", "too-large"})
			}
			g.crosses(t, "small", client.HTTP1, f, payload.Random(13, smallLimit))
		}
	})
	t.Run("envoy", s.envoyLimit)
}

// Over Envoy's own limit in the buffered profile, Envoy answers and nothing passes.
func (s *shared) envoyLimit(t *testing.T) {
	g := s.gates[1]
	id := newID()
	filler := payload.Bytes(payload.Canaries(id, bufferedLimit+1))
	x, err := g.try(t, id, client.HTTP2, client.Request{Path: "/builtin/up", Body: filler}, origin.Answer{})
	if err != nil {
		t.Fatal(err)
	}
	x.wantNoUpload(t, "upload")
	if x.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("upload: status %d", x.Status)
	}
	x, err = g.try(t, id, client.HTTP2, client.Request{Path: "/builtin/down"}, origin.Answer{Body: filler})
	if err != nil {
		t.Fatal(err)
	}
	x.wantNoDownload(t, "download")
	if x.Status != http.StatusInternalServerError {
		t.Errorf("download: status %d", x.Status)
	}
}

// A blocked client gets the form it asked for, and no name of malware unless the
// policy shows them.
func (s *shared) answers(t *testing.T) {
	s.eachGate(t, func(t *testing.T, g *gate) {
		body := payload.Bytes(payload.EICAR())
		ask := func(p client.Protocol, policy string, h http.Header) exchange {
			x := g.send(t, p, client.Request{Method: http.MethodPost, Path: "/" + policy + "/x", Header: h, Body: body}, origin.Answer{})
			x.wantNoUpload(t, policy)
			return x
		}
		x := ask(client.HTTP1, "builtin", http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}})
		page := string(x.Head)
		if x.Status != http.StatusForbidden || !strings.HasPrefix(x.Header.Get("Content-Type"), "text/html") ||
			!strings.Contains(page, "<html") || !strings.Contains(page, "INFECTED") {
			t.Errorf("HTML: status %d, %q: %s", x.Status, x.Header.Get("Content-Type"), page)
		}
		if csp := x.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("HTML: Content-Security-Policy %q", csp)
		}

		x = ask(client.HTTP2, "builtin", http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}})
		if x.Status != http.StatusOK || x.Header.Get("Grpc-Status") != "7" || x.Header.Get("Grpc-Message") == "" || x.Bytes != 0 {
			t.Errorf("gRPC: status %d, grpc-status %q, grpc-message %q, %d bytes",
				x.Status, x.Header.Get("Grpc-Status"), x.Header.Get("Grpc-Message"), x.Bytes)
		}

		if x = ask(client.HTTP1, "builtin", nil); strings.Contains(strings.ToLower(string(x.Head)), "eicar") {
			t.Errorf("the name is shown unasked: %s", x.Head)
		}
		if x = ask(client.HTTP1, "names", nil); !strings.Contains(strings.ToLower(string(x.Head)), "eicar") {
			t.Errorf("show_threats shows none: %s", x.Head)
		}
	})
}

// The origin can trust x-portcullis-*: what the client sent is gone, also as a
// trailer, and the verdict is ours.
func (s *shared) headers(t *testing.T) {
	s.eachGate(t, func(t *testing.T, g *gate) {
		spoofed := http.Header{
			"X-Portcullis-Verdict": {"CLEAN; cause=spoofed", "CLEAN"},
			"X-Portcullis-Policy":  {"gone-open"},
			"X-Portcullis-Else":    {"1"},
			"X-Portcullisnot":      {"stays"},
		}
		for _, p := range []client.Protocol{client.HTTP1, client.HTTP2} {
			for _, row := range []struct {
				body payload.Body
				want string
			}{
				{payload.Random(17, 2000), "CLEAN; cause=scanned"},
				{payload.Body{}, "CLEAN; cause=empty"},
			} {
				r := client.Request{Method: http.MethodPost, Path: "/builtin/x", Header: spoofed, Body: row.body}
				if row.body.Size() > 0 {
					r.Chunked, r.Trailer = true, http.Header{"X-Portcullis-Verdict": {"CLEAN"}, "X-E2e-Sum": {"1"}}
				}
				x := g.send(t, p, r, origin.Answer{})
				// Headers that leave before the verdict cannot carry it.
				early := row.body.Size() > 0 && g.showsHeaders(x.seen)
				if got := x.seen.Header.Values("X-Portcullis-Verdict"); len(got) > 1 || len(got) == 0 != early || !early && got[0] != row.want {
					t.Errorf("%v: the origin was told %q, want %q", p, got, row.want)
				}
				for _, name := range []string{"X-Portcullis-Policy", "X-Portcullis-Else"} {
					if v := x.seen.Header.Get(name); v != "" {
						t.Errorf("%v: the client's %s: %s reached the origin", p, name, v)
					}
				}
				if x.seen.Header.Get("X-Portcullisnot") != "stays" {
					t.Errorf("%v: a header of another name was removed", p)
				}
				if v := x.seen.Trailer.Get("X-Portcullis-Verdict"); v != "" {
					t.Errorf("%v: the client's trailer reached the origin: %q", p, v)
				}
				if row.body.Size() > 0 && x.seen.Trailer.Get("X-E2e-Sum") != "1" {
					t.Errorf("%v: trailers %v", p, x.seen.Trailer)
				}
			}
		}
	})
}

// enforce: false lets everything pass unchanged and says what it would have done.
func (s *shared) report(t *testing.T) {
	labels := []string{"outcome", "INFECTED", "action", "pass"}
	g := s.gates[0]
	before := g.count(t, labels...)
	for _, g := range s.gates {
		form := payload.InfectedForm(newID(), 100)
		x := g.send(t, client.HTTP1, client.Request{Path: "/report/x", Body: form}, origin.Answer{Body: form})
		if x.Status != http.StatusOK || x.seen.SHA256 != form.SHA256() || x.SHA256 != form.SHA256() {
			t.Errorf("%s: status %d, the origin got %d bytes, the client %d", g.name, x.Status, x.seen.Bytes, x.Bytes)
		}
		if v := x.seen.Header.Get("X-Portcullis-Verdict"); v != "INFECTED; cause=malware" {
			t.Errorf("%s: the origin was told %q", g.name, v)
		}
	}
	g.awaitCount(t, before+float64(2*len(s.gates)), labels...)
}

// A leg that the policy skips goes through as it comes, the other is held.
func (s *shared) skip(t *testing.T) {
	s.eachGate(t, func(t *testing.T, g *gate) {
		form := payload.InfectedForm(newID(), 100<<10)
		x := g.send(t, client.HTTP2, client.Request{Path: "/downloads/x", Body: form}, origin.Answer{})
		if x.Status != http.StatusOK || x.seen.SHA256 != form.SHA256() {
			t.Errorf("request: skip: status %d, the origin got %d bytes", x.Status, x.seen.Bytes)
		}
		if v := x.seen.Header.Values("X-Portcullis-Verdict"); len(v) != 0 {
			t.Errorf("request: skip: the origin was told %q", v)
		}
		x = g.send(t, client.HTTP2, client.Request{Path: "/uploads/x"}, origin.Answer{Body: form})
		if x.Status != http.StatusOK || x.SHA256 != form.SHA256() {
			t.Errorf("response: skip: status %d, the client got %d bytes", x.Status, x.Bytes)
		}
		id := newID()
		x, err := g.try(t, id, client.HTTP2, client.Request{Path: "/downloads/x"}, origin.Answer{Body: payload.InfectedForm(id, 100)})
		if err != nil {
			t.Fatal(err)
		}
		x.wantNoDownload(t, "request: skip")
		x.wantProblem(t, "request: skip", refusal{http.StatusForbidden, "response", "INFECTED", "malware"})
	})
}
