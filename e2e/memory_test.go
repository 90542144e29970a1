package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/envoy"
)

// gauge is the present value of one of Portcullis' metrics.
func (g *gate) gauge(name string) (int64, error) {
	m, err := g.portcullis.Metrics()
	return int64(m.Sum(name)), err
}

// spoolEmpty waits until nothing is held and no exchange is open.
func (g *gate) spoolEmpty(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"portcullis_exchanges_open", "portcullis_extproc_streams_open",
		"portcullis_spool_bodies", "portcullis_spool_memory_bytes", "portcullis_spool_disk_bytes",
	} {
		awaitZero(t, name, func() (int64, error) { return g.gauge(name) })
	}
}

// tally is what became of many exchanges.
type tally struct{ right, shed, wrong int }

// crowd sends n bodies of size bytes at once, every other one as an upload, and
// requires that each arrives unchanged or is shed with an answer that says so. It
// speaks HTTP/2, for a client of HTTP/1.1 that is answered amid its upload may see
// the connection reset instead (RFC 9112 section 9.6).
func (g *gate) crowd(t *testing.T, n int, size int64) tally {
	t.Helper()
	var (
		mu  sync.Mutex
		sum tally
		all sync.WaitGroup
	)
	for i := range n {
		all.Go(func() {
			body := payload.Random(uint64(i), size)
			r, a := client.Request{Path: "/default/up", Body: body}, origin.Answer{}
			if i%2 == 1 {
				r, a = client.Request{Path: "/default/down"}, origin.Answer{Body: body}
			}
			x, err := g.try(t, newID(), client.HTTP2, r, a)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && x.Status == http.StatusOK && x.Err == nil && (i%2 == 0 && x.seen.SHA256 == x.SentSHA256 && x.seen.Bytes == size ||
				i%2 == 1 && x.SHA256 == body.SHA256()):
				sum.right++
			case err == nil && x.Status == http.StatusServiceUnavailable && x.Header.Get("Retry-After") != "" &&
				strings.Contains(string(x.Head), `"cause":"overload"`) && x.seen.Bytes == 0:
				sum.shed++
			default:
				sum.wrong++
				t.Errorf("exchange %d: status %d, %d bytes, the origin got %d, errors %v %v: %.200s", i, x.Status, x.Bytes, x.seen.Bytes, err, x.Err, x.Head)
			}
		})
	}
	all.Wait()
	return sum
}

// 100 bodies of 10 MiB at once, 16 times the memory: on disk all of them fit.
func TestCrowdOnDisk(t *testing.T) {
	g := startSmall(t, 4<<30, envoy.Options{}, "")
	if got := g.crowd(t, 100, 10<<20); got.right != 100 {
		t.Errorf("with disk: %+v", got)
	}
	g.withinMemory(t, "100 x 10 MiB on disk")
	g.spoolEmpty(t)
}

// The same without disk: some are shed, none is wrong, and those that fit are
// served.
func TestCrowdInMemory(t *testing.T) {
	g := startSmall(t, 0, envoy.Options{}, "")
	got := g.crowd(t, 100, 10<<20)
	t.Logf("without disk: %+v", got)
	if got.right == 0 || got.shed == 0 {
		t.Errorf("without disk: %+v", got)
	}
	// With the spool full to the brim and a message of each exchange in hand, the
	// whole process is at the bound: 121 to 133 MiB, measured.
	g.withinOwnMemory(t, "100 x 10 MiB in memory")
	g.spoolEmpty(t)
	if again := g.crowd(t, 4, 10<<20); again.right != 4 {
		t.Errorf("afterwards: %+v", again)
	}
}

// While the spool is full, a further body is shed at its headers, at once; the
// bodies that fill it are served.
func TestFullSpoolSheds(t *testing.T) {
	g := startSmall(t, 0, envoy.Options{}, "")
	const size = 62 << 20
	fits, held := make(chan struct{}), make(chan exchange, 1)
	go func() {
		x, err := g.try(t, newID(), client.HTTP1, client.Request{Path: "/default/up", Body: payload.Random(1, size), Gate: fits, GateAt: size - 10}, origin.Answer{})
		if err != nil {
			t.Error(err)
		}
		held <- x
	}()
	awaitZero(t, "bytes until the spool is full", func() (int64, error) {
		n, err := g.gauge("portcullis_spool_memory_bytes")
		return max(0, 61<<20-n), err
	})
	var took []time.Duration
	for i := range 40 {
		body := payload.Random(2, 10<<10)
		r, a, leg := client.Request{Path: "/default/up", Body: body}, origin.Answer{}, "request"
		if i%2 == 1 {
			r, a, leg = client.Request{Path: "/default/down"}, origin.Answer{Body: body}, "response"
		}
		x := g.send(t, client.HTTP1, r, a)
		x.wantProblem(t, "full", refusal{http.StatusServiceUnavailable, leg, "ERROR", "overload"})
		if leg == "request" {
			x.wantNoUpload(t, "full")
		}
		took = append(took, x.HeadersIn)
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("shed in %v (median), %v at most", median, took[len(took)-1])
	if median > 500*time.Millisecond {
		t.Errorf("shed after %v", median)
	}
	close(fits)
	if x := <-held; x.Status != http.StatusOK || x.seen.SHA256 != x.SentSHA256 {
		t.Errorf("the body that filled the spool: status %d, the origin got %d bytes: %s", x.Status, x.seen.Bytes, x.Head)
	}
	g.spoolEmpty(t)
}

// Over max_exchanges a further exchange is shed at once, those that were there
// before are served.
func TestTooManyExchanges(t *testing.T) {
	t.Parallel()
	g := startSmall(t, 1<<30, envoy.Options{}, "limits: {max_exchanges: 5}\n")
	body := payload.Random(3, 100<<10)
	g.crosses(t, "default", client.HTTP1, framing{name: "length"}, body)
	gate := make(chan struct{})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			x, err := g.try(t, newID(), client.HTTP1, client.Request{Path: "/default/up", Body: body, Gate: gate, GateAt: 50 << 10}, origin.Answer{})
			if err != nil || x.Status != http.StatusOK || x.seen.SHA256 != body.SHA256() {
				t.Errorf("one of the five: status %d, the origin got %d bytes, error %v: %s", x.Status, x.seen.Bytes, err, x.Head)
			}
		})
	}
	awaitZero(t, "exchanges missing to 5", func() (int64, error) {
		n, err := g.gauge("portcullis_exchanges_open")
		return 5 - n, err
	})
	var (
		shed  sync.WaitGroup
		byOur atomic.Int64
	)
	for range 15 {
		shed.Go(func() {
			x, err := g.try(t, newID(), client.HTTP2, client.Request{Path: "/default/up", Body: body}, origin.Answer{})
			if err != nil {
				t.Error(err)
				return
			}
			x.wantNoUpload(t, "shed")
			if x.HeadersIn > 2*time.Second {
				t.Errorf("shed after %v", x.HeadersIn)
			}
			if x.Status == http.StatusServiceUnavailable && x.Bytes == 0 {
				return // by gRPC's limit of streams, see below
			}
			byOur.Add(1)
			x.wantProblem(t, "shed", refusal{http.StatusServiceUnavailable, "request", "ERROR", "overload"})
		})
	}
	shed.Wait()
	// The gRPC server refuses streams beyond the same number by itself, on each
	// connection: then it is Envoy that answers 503, without a body.
	t.Logf("of 15, %d were shed by Portcullis, %d by its gRPC server", byOur.Load(), 15-byOur.Load())
	if byOur.Load() == 0 {
		t.Error("none was shed with an answer of Portcullis")
	}
	close(gate)
	all.Wait()
	g.spoolEmpty(t)
	g.crosses(t, "default", client.HTTP1, framing{name: "length"}, body)
}
