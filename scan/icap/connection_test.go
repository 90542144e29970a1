package icap_test

import (
	"context"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
)

func TestKeepAlive(t *testing.T) {
	s, e := pair(t, icaptest.Options{Echo: true}, icap.Config{AcceptEcho: true})
	before := s.Accepted()
	for range 10 {
		wantClean(t, e, text(1000))
	}
	if n := s.Accepted() - before; n != 0 {
		t.Errorf("%d new connections for scans one after the other, want none", n)
	}
}

func TestNoKeepAlive(t *testing.T) {
	for name, c := range map[string]struct {
		config icap.Config
		reply  string
	}{
		"configured":      {config: icap.Config{MaxIdle: -1}},
		"the server says": {reply: "ICAP/1.0 204 x\r\nConnection: close\r\n\r\n"},
		"bytes follow":    {reply: clean204 + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := pair(t, icaptest.Options{}, c.config)
			if c.reply != "" {
				s.Set(icaptest.Fault{Reply: []byte(c.reply)})
			}
			wantClean(t, e, text(10))
			before := s.Accepted()
			for range 3 {
				wantClean(t, e, text(10))
			}
			if n := s.Accepted() - before; n != 3 {
				t.Errorf("%d new connections for 3 scans, want 3", n)
			}
		})
	}
}

// TestIdle: connections that nobody needs are closed, and no more are kept than
// configured.
func TestIdle(t *testing.T) {
	s, e := pair(t, icaptest.Options{}, icap.Config{IdleTimeout: 50 * time.Millisecond})
	if s.Open() == 0 {
		t.Fatal("no connection is kept")
	}
	for limit := time.Now().Add(10 * time.Second); s.Open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d connections are still open", s.Open())
		}
	}
	wantClean(t, e, text(10))
}

// TestStale: a kept connection that the server has closed meanwhile costs a new
// connection and nothing else; the object is sent again exactly once.
func TestStale(t *testing.T) {
	for _, o := range []icaptest.Options{{}, {TLS: true}} {
		for _, size := range []int{100, large / 2} {
			s, e := pair(t, o, icap.Config{})
			s.Set(icaptest.Fault{CloseAfter: true}) // without a word, after each answer
			for range 5 {
				wantClean(t, e, text(size))
				wantVerdict(t, e, marked(size), scan.OutcomeInfected, scan.CauseMalware)
			}
			s.Set(icaptest.Fault{})
			wantClean(t, e, text(size))
			s.Drop()
			before := s.Accepted()
			wantClean(t, e, text(size))
			if n := s.Accepted() - before; n != 1 {
				t.Errorf("%d new connections, want 1", n)
			}
		}
	}
}

// TestStaleOnce: what fails on the new connection too has failed.
func TestStaleOnce(t *testing.T) {
	for _, reset := range []bool{false, true} {
		s, e := pair(t, icaptest.Options{}, icap.Config{})
		s.Set(icaptest.Fault{CloseFirst: true, Reset: reset})
		before := s.Accepted()
		wantKind(t, e, text(100), scan.KindUnreachable)
		if n := s.Accepted() - before; n != 1 {
			t.Errorf("%d new connections after the stale one, want 1", n)
		}
		before = s.Accepted()
		wantKind(t, e, text(100), scan.KindUnreachable)
		if n := s.Accepted() - before; n != 1 {
			t.Errorf("%d connections without a stale one, want 1", n)
		}
	}
}

// TestUnasked: an answer that comes on a kept connection before anything was asked
// is none to the next request.
func TestUnasked(t *testing.T) {
	for _, o := range []icaptest.Options{{}, {TLS: true}} {
		s, e := pair(t, o, icap.Config{MaxObjectBytes: mib})
		for range 3 {
			wantClean(t, e, text(100))
			s.Say([]byte(clean204))
			time.Sleep(50 * time.Millisecond) // on its way
			wantVerdict(t, e, marked(100), scan.OutcomeInfected, scan.CauseMalware)
		}
	}
}

// TestNoRetryAfterBytes: a server that had begun to answer is not asked again.
func TestNoRetryAfterBytes(t *testing.T) {
	s, e := pair(t, icaptest.Options{}, icap.Config{})
	s.Set(icaptest.Fault{CutReply: 1})
	before := len(scans(s))
	wantKind(t, e, text(100), scan.KindUnreachable)
	if n := len(scans(s)) - before; n != 1 {
		t.Errorf("the object was sent %d times, want once", n)
	}
}

// TestConnectionClosed: no connection outlives a scan that failed or left.
func TestConnectionClosed(t *testing.T) {
	s, e := pair(t, icaptest.Options{}, icap.Config{MaxIdle: -1})
	for _, f := range []icaptest.Fault{
		{Early: true, Reply: []byte("ICAP/1.0 200 OK\r\n")}, // and no more
		{Reply: []byte("garbage\r\n\r\n")},
		{Reply: []byte("ICAP/1.0 500 Sorry\r\n\r\n")},
	} {
		s.Set(f)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if v, err := e.Scan(ctx, text(100)); err == nil {
			t.Errorf("%+v", v)
		}
		for limit := time.Now().Add(10 * time.Second); s.Open() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("%q: %d connections are still open", f.Reply, s.Open())
			}
		}
	}
}

// TestOptionsCached: asked once, again when the time is up, and again when an
// answer's ISTag says that the service has changed.
func TestOptionsCached(t *testing.T) {
	asked := func(s *icaptest.Server) int { return len(s.Requests()) - len(scans(s)) }
	s, e := pair(t, icaptest.Options{}, icap.Config{})
	for range 5 {
		wantClean(t, e, text(10))
	}
	if n := asked(s); n != 1 {
		t.Errorf("asked for options %d times, want once", n)
	}
	got, err := e.Signatures(t.Context())
	if err != nil || got.Version != "icaptest-1" || !got.Built.IsZero() {
		t.Errorf("signatures %+v, error %v", got, err)
	}
	s.Set(icaptest.Fault{ISTag: `"icaptest-2"`})
	before := asked(s)
	for range 5 {
		wantClean(t, e, text(10))
	}
	if n := asked(s) - before; n != 1 {
		t.Errorf("asked for options %d times after the ISTag changed, want once", n)
	}
	if got, err := e.Signatures(t.Context()); err != nil || got.Version != "icaptest-2" {
		t.Errorf("signatures %+v, error %v", got, err)
	}

	s, e = pair(t, icaptest.Options{TTL: 1}, icap.Config{})
	before = asked(s)
	time.Sleep(1100 * time.Millisecond) // the shortest time a server can name
	wantClean(t, e, text(10))
	if n := asked(s) - before; n != 1 {
		t.Errorf("asked for options %d times after their time, want once", n)
	}
}
