package extproc_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/spool"
)

// profile returns Envoy as the generator configures it.
func profile(name string) extproctest.Config {
	c := extproctest.Duplex()
	if name == "buffered" {
		c = extproctest.Buffered()
	}
	c.ReceivingNamespaces = []string{"portcullis"}
	c.MessageTimeout = 35 * time.Second
	c.BufferLimit = 16 << 20
	c.Ending = extproctest.EndHalfClose // so that late answers are always seen
	return c
}

// Clean bodies of every framing arrive byte for byte, infected ones not at all,
// on both legs, in both profiles.
func TestExchanges(t *testing.T) {
	bodies := map[string][]byte{
		"0 B": nil, "1 B": []byte("x"), "10 KiB": extproctest.Random(10<<10, 1), "3 MiB": extproctest.Random(3<<20, 2),
	}
	for _, p := range []string{"duplex", "buffered"} {
		for name, body := range bodies {
			for _, cut := range []int{1 << 10, 1 << 20} {
				for _, trailers := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %s cut=%d trailers=%v", p, name, cut, trailers), func(t *testing.T) {
						m := extproctest.Message{Body: extproctest.Cut(body, cut)}
						if trailers {
							m.Trailers = extproctest.H("x-sum", "1")
						}
						cleanExchange(t, p, m, body)
					})
				}
			}
		}
	}
}

func cleanExchange(t *testing.T, p string, m extproctest.Message, body []byte) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		d.engine = slow // so that anything released early would be seen
		res := extproctest.New(d.serve(t), profile(p)).Do(t.Context(), extproctest.Exchange{
			Request: m, Origin: func(extproctest.Received) extproctest.Message { return m },
		})
		res.MustBeLawful(t)
		want := sha256.Sum256(body)
		if res.Origin.SHA256 != want || res.Client.SHA256 != want || res.Client.Status != 200 {
			t.Errorf("origin got %d bytes, client %d, status %d, want %d bytes on both sides",
				res.Origin.Size, res.Client.Size, res.Client.Status, len(body))
		}
		// (A body of 0 bytes has no verdict to wait for.)
		if len(body) > 0 && (res.Origin.BeforeEnd || res.Client.BeforeEnd) {
			t.Errorf("something left before the verdict:\n%s", res.History())
		}
		if m.Trailers != nil && (res.Origin.Trailers.Get("x-sum") != "1" || res.Client.Trailers.Get("x-sum") != "1") {
			t.Error("trailers were lost")
		}
		if len(body) > 0 && res.Stream != nil && !errors.Is(res.Stream, io.EOF) {
			t.Errorf("the stream ended with %v", res.Stream)
		}
	})
}

// EICAR anywhere in a body, in any cut, never passes.
func TestInfectedExchanges(t *testing.T) {
	large := append(extproctest.Random(2<<20, 3), extproctest.EICAR()...)
	for _, p := range []string{"duplex", "buffered"} {
		for _, body := range [][]byte{extproctest.EICAR(), large} {
			for _, leg := range []scan.Leg{scan.Request, scan.Response} {
				t.Run(fmt.Sprintf("%s %s %d B", p, leg, len(body)), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						infected := extproctest.Message{Body: extproctest.Cut(body, 1000)}
						ex := extproctest.Exchange{Request: infected}
						if leg == scan.Response {
							ex = extproctest.Exchange{Origin: extproctest.Reply(infected)}
						}
						d := newDoor()
						res := extproctest.New(d.serve(t), profile(p)).Do(t.Context(), ex)
						res.MustBeLawful(t)
						if res.Client.Status != 403 || res.Client.Reset || bytes.Contains(res.Client.Body, extproctest.EICAR()) {
							t.Errorf("the client saw %s", res.Client)
						}
						if leg == scan.Request && res.Origin.Reached {
							t.Errorf("the origin was reached with %d bytes", res.Origin.Size)
						}
						r := <-d.records
						if got := r.Legs[leg].Decision; got.Action != scan.Block || got.Verdict.Outcome != scan.OutcomeInfected {
							t.Errorf("recorded %+v", got)
						}
						synctest.Wait()
						if u := d.pool.Usage(); u.Bodies != 0 || u.Memory != 0 || u.Disk != 0 {
							t.Errorf("still held: %+v", u)
						}
					})
				})
			}
		}
	}
}

// An origin that answers before it has the whole request gets its answer scanned
// and delivered, and nothing hangs.
func TestEarlyResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		d.policy.ScanRequest = false
		cfg := profile("duplex")
		res := extproctest.New(d.serve(t), cfg).Do(t.Context(), extproctest.Exchange{
			Request: extproctest.Message{Body: extproctest.Cut(extproctest.Random(100<<10, 1), 1<<10), Every: time.Second},
			Early:   true, EarlyAfter: 1 << 10,
			Origin: extproctest.Reply(extproctest.Message{Headers: extproctest.H(":status", "413"), Body: [][]byte{[]byte("too much")}}),
		})
		res.MustBeLawful(t)
		if res.Client.Status != 413 || string(res.Client.Body) != "too much" || res.Hang {
			t.Errorf("the client saw %s", res.Client)
		}
	})
}

// Envoy's own error, raised while an upload is held, reaches the client.
func TestLocalReply(t *testing.T) {
	for _, p := range []string{"duplex", "buffered"} {
		t.Run(p, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor()
				res := extproctest.New(d.serve(t), profile(p)).Do(t.Context(), extproctest.Exchange{
					Request:    extproctest.Message{Body: extproctest.Cut(extproctest.Random(10<<10, 1), 1<<10), Every: time.Second},
					LocalReply: &extproctest.LocalReply{Status: 408, AfterChunks: 3},
				})
				res.MustBeLawful(t)
				if res.Client.Status != 408 || res.Origin.Reached {
					t.Errorf("the client saw %s, the origin was reached: %v", res.Client, res.Origin.Reached)
				}
			})
		})
	}
}

// A BUFFERED request of headers and trailers reaches the origin without our being
// told of its end; the answer is the origin's and must be scanned all the same.
func TestResponseToARequestWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		res := extproctest.New(d.serve(t), profile("buffered")).Do(t.Context(), extproctest.Exchange{
			Request: extproctest.Message{Trailers: extproctest.H("x-sum", "1")},
			Origin:  extproctest.Reply(extproctest.Message{Body: [][]byte{extproctest.EICAR()}}),
		})
		res.MustBeLawful(t)
		if res.Client.Status != 403 {
			t.Errorf("the client saw %s", res.Client)
		}
	})
}

// A client or origin that leaves at any step leaves nothing behind.
func TestLeaving(t *testing.T) {
	for after := range 6 {
		for _, leg := range []scan.Leg{scan.Request, scan.Response} {
			synctest.Test(t, func(t *testing.T) {
				gone := extproctest.Message{Body: extproctest.Cut(extproctest.Random(after<<10, 1), 1<<10), End: extproctest.EndAbort}
				ex := extproctest.Exchange{Request: gone}
				if leg == scan.Response {
					ex = extproctest.Exchange{Origin: extproctest.Reply(gone)}
				}
				d := newDoor()
				res := extproctest.New(d.serve(t), profile("duplex")).Do(t.Context(), ex)
				res.MustBeLawful(t)
				synctest.Wait()
				if u := d.pool.Usage(); u.Bodies != 0 || u.Memory != 0 {
					t.Errorf("still held after %d chunks of the %s: %+v", after, leg, u)
				}
				if leg == scan.Request && res.Origin.Reached {
					t.Error("a cut-off upload reached the origin")
				}
			})
		}
	}
}

// A body that comes back from the spool changed is never completed.
func TestChangedInTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, err := spool.New(spool.Config{MemoryBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		d := newDoor()
		d.store = rotten{pool}
		res := extproctest.New(d.serve(t), profile("duplex")).Do(t.Context(), extproctest.Exchange{
			Request: extproctest.Message{Body: extproctest.Cut(extproctest.Random(200<<10, 1), 64<<10)},
		})
		if res.Origin.Complete {
			t.Error("a changed body was completed at the origin")
		}
		if res.Client.Status != 500 && !res.Client.Reset {
			t.Errorf("the client saw %s", res.Client)
		}
	})
}

// rotten is a store whose bodies come back with one bit changed.
type rotten struct{ scan.Store }

func (r rotten) Open(limit int64, digest bool) scan.Body {
	return rottenBody{r.Store.Open(limit, digest)}
}

type rottenBody struct{ scan.Body }

func (b rottenBody) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.Body.ReadAt(p, off)
	if n > 0 {
		p[n/2] ^= 1
	}
	return n, err
}

// A route that names a policy that does not exist gets nothing through.
func TestUnknownPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		d.policy.FailOpen, d.policy.Enforce = true, false
		cfg := profile("duplex")
		cfg.InitialMetadata = map[string]string{"x-portcullis-policy": "strickt"}
		res := extproctest.New(d.serve(t), cfg).Do(t.Context(), extproctest.Exchange{
			Request: extproctest.Message{Body: [][]byte{[]byte("abc")}},
		})
		res.MustBeLawful(t)
		if res.Client.Status != 503 || res.Origin.Reached {
			t.Errorf("the client saw %s", res.Client)
		}
	})
}

// adaptiveEnvoy is Envoy as the generator configures the adaptive profile.
func adaptiveEnvoy() extproctest.Config {
	c := extproctest.Adaptive()
	c.ReceivingNamespaces = []string{"portcullis"}
	c.MessageTimeout = 35 * time.Second
	c.InitialMetadata = map[string]string{"x-portcullis-adaptive": "1048576"}
	c.Ending = extproctest.EndHalfClose
	return c
}

// In the adaptive profile bodies come only where they are wanted, and then they
// are withheld as in the others.
func TestAdaptive(t *testing.T) {
	body := extproctest.Random(300<<10, 1)
	for _, c := range []struct {
		name              string
		request, response bool
		declared          bool
	}{
		{"both, declared length", true, true, true},
		{"both, chunked", true, true, false},
		{"request only", true, false, true},
		{"response only", false, true, true},
		{"none", false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDoor()
				d.engine = slow
				d.policy.ScanRequest, d.policy.ScanResponse = c.request, c.response
				m := extproctest.Message{Body: extproctest.Cut(body, 64<<10)}
				if c.declared {
					m.Headers = extproctest.H("content-length", strconv.Itoa(len(body)))
				}
				reply := extproctest.Message{Body: m.Body, Trailers: extproctest.H("x-sum", "1")}
				res := extproctest.New(d.serve(t), adaptiveEnvoy()).Do(t.Context(), extproctest.Exchange{
					Request: m, Origin: extproctest.Reply(reply),
				})
				res.MustBeLawful(t)
				want := sha256.Sum256(body)
				if res.Origin.SHA256 != want || res.Client.SHA256 != want || res.Client.Status != 200 {
					t.Errorf("origin got %d bytes, client %d, status %d", res.Origin.Size, res.Client.Size, res.Client.Status)
				}
				r := <-d.records
				for l, covered := range []bool{c.request, c.response} {
					if got := r.Legs[l].Decision; got.Covered != covered || covered && got.Verdict.Cause != scan.CauseScanned {
						t.Errorf("leg %d: %+v", l, got)
					}
				}
			})
		})
	}
}

// EICAR is stopped in the adaptive profile too.
func TestAdaptiveInfected(t *testing.T) {
	for _, length := range []string{"", "68"} {
		for _, leg := range []scan.Leg{scan.Request, scan.Response} {
			synctest.Test(t, func(t *testing.T) {
				infected := extproctest.Message{Body: extproctest.Cut(extproctest.EICAR(), 20)}
				if length != "" {
					infected.Headers = extproctest.H("content-length", length)
				}
				ex := extproctest.Exchange{Request: infected}
				if leg == scan.Response {
					ex = extproctest.Exchange{Origin: extproctest.Reply(infected)}
				}
				d := newDoor()
				res := extproctest.New(d.serve(t), adaptiveEnvoy()).Do(t.Context(), ex)
				res.MustBeLawful(t)
				// (The headers of an upload of unknown length may have left.)
				if res.Client.Status != 403 || leg == scan.Request && res.Origin.Size != 0 {
					t.Errorf("length %q, %s: the client saw %s, the origin %d bytes", length, leg, res.Client, res.Origin.Size)
				}
			})
		}
	}
}

// An override that Envoy ignores is noticed, and nothing passes as if scanned.
func TestOverrideIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := adaptiveEnvoy()
		cfg.AllowModeOverride = false
		d := newDoor()
		res := extproctest.New(d.serve(t), cfg).Do(t.Context(), extproctest.Exchange{
			Request: extproctest.Message{Body: [][]byte{extproctest.EICAR()}},
			Origin:  extproctest.Reply(extproctest.Message{Body: [][]byte{[]byte("done")}}),
		})
		if res.Client.Status != 502 {
			t.Errorf("the client saw %s", res.Client)
		}
		if r := <-d.records; r.Legs[scan.Response].Decision.Verdict.Cause != scan.CauseUncoveredMode {
			t.Errorf("recorded %+v", r.Legs)
		}
	})
}
