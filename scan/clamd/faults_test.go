package clamd_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/clamd"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// large does not fit into the buffers of any socket.
const large = 8 << 20

// overBoth runs test against a new fake, over unix and over TCP.
func overBoth(t *testing.T, o clamdtest.Options, test func(t *testing.T, s *clamdtest.Server, e *clamd.Engine)) {
	t.Helper()
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			o.Network = network
			s := clamdtest.Start(t, o)
			test(t, s, newEngine(t, s.Address()))
		})
	}
}

func scanIt(t *testing.T, e *clamd.Engine, o scan.Object) (scan.Verdict, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return e.Scan(ctx, o)
}

func wantKind(t *testing.T, e *clamd.Engine, o scan.Object, want scan.Kind) {
	t.Helper()
	v, err := scanIt(t, e, o)
	if err == nil || scan.KindOf(err) != want || v.Outcome == scan.OutcomeClean {
		t.Errorf("verdict %+v, error %v (%v), want an error of kind %v", v, err, scan.KindOf(err), want)
	}
}

func wantVerdict(t *testing.T, e *clamd.Engine, o scan.Object, outcome scan.Outcome, cause scan.Cause) scan.Verdict {
	t.Helper()
	v, err := scanIt(t, e, o)
	if err != nil || v.Outcome != outcome || v.Cause != cause {
		t.Errorf("verdict %+v, error %v, want %v, cause %q", v, err, outcome, cause)
	}
	return v
}

func wantClean(t *testing.T, e *clamd.Engine, o scan.Object) {
	t.Helper()
	wantVerdict(t, e, o, scan.OutcomeClean, scan.CauseScanned)
}

// TestSizes: the marker is found wherever frames begin and end, first and last.
func TestSizes(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, _ *clamdtest.Server, e *clamd.Engine) {
		const frame = 64 << 10
		marker := clamdtest.Marker()
		for _, size := range []int{len(marker), 4096, frame - 1, frame, frame + 1, 3 * frame, 3*frame + len(marker)/2} {
			content := scantest.Text(size, 1)
			wantClean(t, e, scantest.Object(content))
			wantVerdict(t, e, scantest.Object(append(slices.Clip(content), marker...)), scan.OutcomeInfected, scan.CauseMalware)
			v := wantVerdict(t, e, scantest.Object(append(slices.Clone(marker), content...)), scan.OutcomeInfected, scan.CauseMalware)
			if !slices.Equal(v.Threats, []string{clamdtest.MarkerName}) {
				t.Errorf("threats %q, want %q", v.Threats, clamdtest.MarkerName)
			}
		}
	})
}

// TestDying is F-04, F-05 and F-06: a clamd that dies says nothing, not even
// that it dies.
func TestDying(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
		for _, f := range []clamdtest.Fault{
			{DieAfter: 1},
			{DieAfter: large / 2},
			{DieAfter: large},
			{DieAtEnd: true},
			{DieAfter: 1, Reset: true},
			{DieAfter: large / 2, Reset: true},
			{DieAtEnd: true, Reset: true},
		} {
			s.Set(f)
			for _, size := range []int{1 << 10, large} {
				if f.DieAfter > int64(size) {
					continue
				}
				t.Run(fmt.Sprintf("%+v, %d bytes", f, size), func(t *testing.T) {
					wantKind(t, e, scantest.Object(scantest.Text(size, 1)), scan.KindUnreachable)
				})
			}
		}
		s.Set(clamdtest.Fault{})
		wantClean(t, e, scantest.Object(scantest.Text(large, 1)))
	})
}

// callback calls at once for a read that reaches an offset.
type callback struct {
	io.ReaderAt
	off    int64
	called *atomic.Bool
	call   func()
}

func (c callback) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.off && !c.called.Swap(true) {
		c.call()
	}
	return c.ReaderAt.ReadAt(p, off)
}

// TestDyingReal is F-04 and F-05 with a daemon that is killed mid-stream.
func TestDyingReal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		for name, address := range map[string]func(*clamdtest.Real) string{
			"unix": (*clamdtest.Real).Unix, "tcp": (*clamdtest.Real).TCP,
		} {
			t.Run(signal.String()+" "+name, func(t *testing.T) {
				r := clamdtest.StartReal(t, clamdtest.RealOptions{})
				e := newEngine(t, address(r))
				o := scantest.Object(scantest.Text(large, 1))
				wantClean(t, e, o)
				o.Content = callback{o.Content, large / 2, new(atomic.Bool), func() {
					r.Signal(signal)
					time.Sleep(200 * time.Millisecond) // the process needs real time to die
				}}
				wantKind(t, e, o, scan.KindUnreachable)
			})
		}
	}
}

// TestCutReply is F-07, over every cut point of the replies that let pass or
// that name malware.
func TestCutReply(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
		for _, reply := range []string{"stream: OK\x00", "stream: Test.Eicar.UNOFFICIAL FOUND\x00"} {
			for n := range len(reply) {
				s.Set(clamdtest.Fault{Reply: []byte(reply[:n])})
				wantKind(t, e, scantest.Object([]byte("text")), scan.KindUnreachable)
			}
		}
	})
}

// TestGarbage is F-08.
func TestGarbage(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
		for _, reply := range []string{
			"garbage\x00", "\x00", "1: stream: OK\x00", "stream: OK\x00stream: OK\x00", "stream: OK\nstream: OK\x00",
			"s\x00t\x00r\x00e\x00a\x00m\x00:\x00 \x00O\x00K\x00\x00\x00", "UNKNOWN COMMAND\x00",
			"stream: Can't allocate memory ERROR\x00", "Error writing to temporary file ERROR\x00",
			strings.Repeat("x", 10<<20) + "stream: OK\x00", "stream: OK" + strings.Repeat(" ", 4<<10) + "\x00",
		} {
			s.Set(clamdtest.Fault{Reply: []byte(reply)})
			wantKind(t, e, scantest.Object([]byte("text")), scan.KindProtocol)
		}
		s.Set(clamdtest.Fault{Reply: []byte("COMMAND UNAVAILABLE\x00")})
		wantKind(t, e, scantest.Object([]byte("text")), scan.KindRefused)
	})
}

// TestOverflow is F-09: the reply comes before or after the write error.
func TestOverflow(t *testing.T) {
	overBoth(t, clamdtest.Options{StreamMaxLength: large / 2}, func(t *testing.T, _ *clamdtest.Server, e *clamd.Engine) {
		wantClean(t, e, scantest.Object(scantest.Text(large/2, 1)))
		for _, size := range []int{large/2 + 1, large} {
			o := scantest.Object(scantest.Text(size, 1))
			for range 20 {
				wantVerdict(t, e, o, scan.OutcomeUnscannable, scan.CauseTooLarge)
			}
		}
	})
}

func TestOverflowReal(t *testing.T) {
	r := clamdtest.StartReal(t, clamdtest.RealOptions{StreamMaxLength: 1 << 20})
	for _, address := range []string{r.Unix(), r.TCP()} {
		e := newEngine(t, address)
		wantClean(t, e, scantest.Object(scantest.Text(1<<20, 1)))
		for _, size := range []int{1<<20 + 1, large} {
			o := scantest.Object(scantest.Text(size, 1))
			for range 20 {
				wantVerdict(t, e, o, scan.OutcomeUnscannable, scan.CauseTooLarge)
			}
		}
	}
}

// TestReadTimedOut is F-10: clamd gave up waiting for a slow reader of ours.
func TestReadTimedOut(t *testing.T) {
	overBoth(t, clamdtest.Options{ReadTimeout: 50 * time.Millisecond}, func(t *testing.T, _ *clamdtest.Server, e *clamd.Engine) {
		o := scantest.Object(scantest.Text(1<<20, 1))
		o.Content = callback{o.Content, 1 << 19, new(atomic.Bool), func() { time.Sleep(500 * time.Millisecond) }}
		wantKind(t, e, o, scan.KindProtocol)
	})
}

// TestEarlyReply: a reply that does not wait for the end of the stream may
// block, and never lets pass.
func TestEarlyReply(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
		o := scantest.Object(scantest.Text(large, 1))
		s.Set(clamdtest.Fault{EarlyAfter: 1, EarlyStall: true})
		wantKind(t, e, o, scan.KindProtocol)
		s.Set(clamdtest.Fault{EarlyAfter: 1, EarlyStall: true, Reply: []byte("stream: x FOUND\x00")})
		wantVerdict(t, e, o, scan.OutcomeInfected, scan.CauseMalware)
		s.Set(clamdtest.Fault{EarlyAfter: 1, Reply: []byte("stream: x FOUND\x00")})
		wantVerdict(t, e, o, scan.OutcomeInfected, scan.CauseMalware)
		s.Set(clamdtest.Fault{EarlyAfter: 1, EarlyStall: true, Reply: []byte("garbage\x00")})
		wantKind(t, e, o, scan.KindProtocol)
	})
}

// TestOddDelivery: replies may come late, in pieces, and over connections that
// stay open.
func TestOddDelivery(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
		for _, f := range []clamdtest.Fault{
			{Dribble: true}, {KeepOpen: true}, {Delay: 100 * time.Millisecond}, {Dribble: true, KeepOpen: true},
		} {
			s.Set(f)
			wantClean(t, e, scantest.Object(scantest.Text(1<<10, 1)))
			wantVerdict(t, e, scantest.Object(scantest.EICAR()), scan.OutcomeInfected, scan.CauseMalware)
		}
	})
}

// TestHeuristics: what clamd says by detection names, by the fake and the real daemon.
func TestHeuristics(t *testing.T) {
	const limit = 1 << 20
	encrypted := append([]byte("PK\x03\x04\x14\x00\x01\x00"), make([]byte, 64)...)
	fake := clamdtest.Start(t, clamdtest.Options{MaxFileSize: limit})
	wantVerdict(t, newEngine(t, fake.Address()), scantest.Object(encrypted), scan.OutcomePolicy, scan.CauseEncrypted)
	daemon := clamdtest.StartReal(t, clamdtest.RealOptions{MaxFileSize: limit})
	for _, address := range []string{fake.Address(), daemon.Unix()} {
		e := newEngine(t, address)
		wantClean(t, e, scantest.Object(scantest.Text(limit, 1)))
		v := wantVerdict(t, e, scantest.Object(scantest.Text(limit+1, 1)), scan.OutcomeUnscannable, scan.CauseEngineLimit)
		if !slices.Equal(v.Threats, []string{"Heuristics.Limits.Exceeded.MaxFileSize"}) {
			t.Errorf("threats %q", v.Threats)
		}
	}
}

// TestConnectionClosed: a daemon that waits for the client to hang up does not
// wait after Scan has returned, whatever came of it.
func TestConnectionClosed(t *testing.T) {
	overBoth(t, clamdtest.Options{}, func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
		for _, f := range []clamdtest.Fault{
			{KeepOpen: true},
			{KeepOpen: true, Reply: []byte("garbage\x00")},
			{KeepOpen: true, Reply: []byte("no terminator")},
		} {
			s.Set(f)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, _ = e.Scan(ctx, scantest.Object([]byte("text")))
			for limit := time.Now().Add(10 * time.Second); s.Open() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatalf("%+v: %d connections are still open", f, s.Open())
				}
			}
		}
	})
}

// TestReload is F-11 for one daemon: signatures are reloaded under load and no
// scan is skipped.
func TestReload(t *testing.T) {
	r := clamdtest.StartReal(t, clamdtest.RealOptions{})
	e := newEngine(t, r.Unix())
	for i := range 40 {
		if i%10 == 0 {
			r.Signal(syscall.SIGUSR2) // reload the database
		}
		wantVerdict(t, e, scantest.Object(scantest.EICAR()), scan.OutcomeInfected, scan.CauseMalware)
		wantClean(t, e, scantest.Object(scantest.Text(1000+i, uint64(i))))
	}
	const reloaded = "Database correctly reloaded"
	for limit := time.Now().Add(10 * time.Second); !strings.Contains(r.Log(), reloaded); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("no %q in the daemon's log: nothing was tested", reloaded)
		}
	}
}

// TestFullBacklog is F-02 for a unix socket, which says so at once.
func TestFullBacklog(t *testing.T) {
	dir, err := os.MkdirTemp("", "pc") //nolint:usetesting // a unix socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "full.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	const connectTimeout = 200 * time.Millisecond
	e, err := clamd.New(clamd.Config{Address: "unix:" + path, ConnectTimeout: connectTimeout})
	if err != nil {
		t.Fatal(err)
	}
	// The first connection fills the backlog and is never accepted.
	filler, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(filler) })
	if err := syscall.Connect(filler, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wantKind(t, e, scantest.Object([]byte("text")), scan.KindOverload)
	if took := time.Since(began); took < connectTimeout || took > connectTimeout+time.Second {
		t.Errorf("took %v, want the connect time-out of %v", took, connectTimeout)
	}
	ctx, cancel := context.WithTimeout(t.Context(), connectTimeout/4)
	defer cancel()
	if _, err := e.Scan(ctx, scantest.Object([]byte("text"))); scan.KindOf(err) != scan.KindTimeout {
		t.Errorf("error %v, want that of the ended context", err)
	}
}

func TestSignatures(t *testing.T) {
	overBoth(t, clamdtest.Options{Version: "ClamAV 1.4.6/27500/Mon Nov  2 08:26:11 2026"},
		func(t *testing.T, s *clamdtest.Server, e *clamd.Engine) {
			got, err := e.Signatures(t.Context())
			if err != nil || got.Version != "ClamAV 1.4.6/27500/Mon Nov  2 08:26:11 2026" || got.Built.Day() != 2 {
				t.Errorf("signatures %+v, error %v", got, err)
			}
			s.Set(clamdtest.Fault{Hang: true})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if got, err := e.Signatures(ctx); scan.KindOf(err) != scan.KindTimeout {
				t.Errorf("signatures %+v, error %v (%v), want a time-out", got, err, scan.KindOf(err))
			}
			s.Stop()
			if got, err := e.Signatures(t.Context()); err == nil || scan.KindOf(err) != scan.KindUnreachable {
				t.Errorf("signatures %+v, error %v (%v), want unreachable", got, err, scan.KindOf(err))
			}
		})
	refusing := clamdtest.Start(t, clamdtest.Options{NoVersion: true})
	if got, err := newEngine(t, refusing.Address()).Signatures(t.Context()); scan.KindOf(err) != scan.KindRefused {
		t.Errorf("signatures %+v, error %v, want refused", got, err)
	}
}

func TestSignaturesReal(t *testing.T) {
	r := clamdtest.StartReal(t, clamdtest.RealOptions{})
	got, err := newEngine(t, r.TCP()).Signatures(t.Context())
	if err != nil || !strings.HasPrefix(got.Version, "ClamAV ") || !got.Built.IsZero() {
		t.Errorf("signatures %+v, error %v, want a version without a date", got, err)
	}
}

func TestNew(t *testing.T) {
	for _, address := range []string{"unix:/run/clamd.sock", "tcp:clamd:3310", "127.0.0.1:3310", "[::1]:3310"} {
		if _, err := clamd.New(clamd.Config{Address: address}); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, c := range []clamd.Config{
		{},
		{Address: "unix:"},
		{Address: "/run/clamd.sock"},
		{Address: "clamd"},
		{Address: ":3310"},
		{Address: "clamd:"},
		{Address: "tcp:"},
		{Address: "clamd:3310", ConnectTimeout: math.MinInt64},
	} {
		if _, err := clamd.New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
