package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// lentContent fails the test when it is read after its owner has taken it back.
type lentContent struct {
	t    *testing.T
	name string
	io.ReaderAt
	gone atomic.Bool
}

func (l *lentContent) ReadAt(p []byte, off int64) (int, error) {
	if l.gone.Load() {
		l.t.Errorf("the content of %s was read after its Scan had returned", l.name)
	}
	return l.ReaderAt.ReadAt(p, off)
}

// answer is what one call of Scan came to.
type answer struct {
	v    scan.Verdict
	err  error
	took time.Duration
}

// call scans content as a client of that name would, in the background.
func call(ctx context.Context, t *testing.T, e scan.Engine, name, content string) <-chan answer {
	o := object(content)
	lent := &lentContent{t: t, name: name, ReaderAt: o.Content}
	o.Content = lent
	done := make(chan answer, 1)
	go func() {
		began := time.Now()
		v, err := e.Scan(ctx, o)
		lent.gone.Store(true)
		done <- answer{v, err, time.Since(began)}
	}()
	return done
}

// slowly judges a byte every 100 ms, or ends as a fleet would.
func slowly(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	verdict := scan.CleanVerdict()
	content := make([]byte, 0, o.Size)
	for i := range o.Size {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseScanTimeout}, nil
			}
			return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "scan", Err: ctx.Err()}
		}
		b := make([]byte, 1)
		if _, err := o.Content.ReadAt(b, i); err != nil && err != io.EOF {
			return scan.Verdict{}, err
		}
		content = append(content, b[0])
	}
	if bytes.Contains(content, []byte(marker)) {
		verdict = scan.InfectedVerdict("Test.Malware")
	}
	return verdict, nil
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// A hundred callers with one object are one scan.
func TestOneScanForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, slowly)
		var all []<-chan answer
		for range 100 {
			all = append(all, call(within(t, 30*time.Second), t, e, "client", marker))
		}
		for _, a := range all {
			if got := <-a; got.err != nil || got.v.Outcome != scan.OutcomeInfected || got.took != 700*time.Millisecond {
				t.Fatalf("got %+v", got)
			}
		}
		if n := scans.scans.Load(); n != 1 {
			t.Errorf("%d scans", n)
		}
		if s := e.Stats(); s.Merged != 99 || s.Misses != 1 {
			t.Errorf("%+v", s)
		}
		if v := mustScan(t, e, object(marker), scan.OutcomeInfected); v.Signatures != "v1" {
			t.Errorf("got %+v", v)
		}
	})
}

// A leader that leaves returns at once, its content is not touched any more, and
// the others get their verdict when they would have got it.
func TestLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, slowly)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		leader := call(ctx, t, e, "leader", "12345"+marker)
		synctest.Wait()
		follower := call(within(t, time.Minute), t, e, "follower", "12345"+marker)
		time.Sleep(450 * time.Millisecond)
		cancel()
		if got := <-leader; scan.KindOf(got.err) != scan.KindCanceled || got.took != 450*time.Millisecond {
			t.Errorf("leader: %+v", got)
		}
		if got := <-follower; got.err != nil || got.v.Outcome != scan.OutcomeInfected || got.took != 1200*time.Millisecond {
			t.Errorf("follower: %+v", got)
		}
		if scans.scans.Load() != 1 {
			t.Errorf("%d scans", scans.scans.Load())
		}
	})
}

// When the last caller leaves, the engine is told, and the next caller begins anew.
func TestAllLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, slowly)
		ctx, cancel := context.WithCancel(t.Context())
		first, second := call(ctx, t, e, "first", "abcd"), call(ctx, t, e, "second", "abcd")
		time.Sleep(150 * time.Millisecond)
		cancel()
		<-first
		<-second
		if got := <-call(t.Context(), t, e, "third", "abcd"); got.err != nil || got.took != 400*time.Millisecond {
			t.Errorf("third: %+v", got)
		}
		if s := e.Stats(); scans.scans.Load() != 2 || s.Stored != 1 {
			t.Errorf("%d scans, %+v", scans.scans.Load(), s)
		}
	})
}

// A deadline means the same as without the cache: the engine says what it means,
// and one caller's short time does not take away another one's long time.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, slowly)
		const content = "0123456789" // 1 s
		short := call(within(t, 500*time.Millisecond), t, e, "short", content)
		synctest.Wait()
		long := call(within(t, 30*time.Second), t, e, "long", content)
		middle := call(within(t, 900*time.Millisecond), t, e, "middle", content)
		for name, want := range map[string]struct {
			answer  <-chan answer
			outcome scan.Outcome
			took    time.Duration
		}{
			"short":  {short, scan.OutcomeUnscannable, 500 * time.Millisecond},
			"middle": {middle, scan.OutcomeUnscannable, 900 * time.Millisecond},
			"long":   {long, scan.OutcomeClean, 1500 * time.Millisecond},
		} {
			if got := <-want.answer; got.err != nil || got.v.Outcome != want.outcome || got.took != want.took {
				t.Errorf("%s: got %+v, want %v after %v", name, got, want.outcome, want.took)
			}
		}
		if scans.scans.Load() != 2 {
			t.Errorf("%d scans", scans.scans.Load())
		}
	})
}

// A caller with much less time than a scan under way has gets a scan of its own.
func TestShortCallerDoesNotWaitForLongScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, slowly)
		const content = "0123456789"
		long := call(within(t, 30*time.Second), t, e, "long", content)
		synctest.Wait()
		short := call(within(t, 300*time.Millisecond), t, e, "short", content)
		if got := <-short; got.v.Cause != scan.CauseScanTimeout || got.took != 300*time.Millisecond {
			t.Errorf("short: %+v", got)
		}
		if got := <-long; got.err != nil || got.took != time.Second {
			t.Errorf("long: %+v", got)
		}
		if scans.scans.Load() != 2 {
			t.Errorf("%d scans", scans.scans.Load())
		}
	})
}

// Callers at about the same time share one scan, whatever the order of their
// deadlines, and none waits more than half a second beyond its own.
func TestDeadlinesInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, func(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
			<-ctx.Done()
			return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "scan", Err: ctx.Err()}
		})
		var all []<-chan answer
		var own []time.Duration
		for i := range 20 {
			own = append(own, 30*time.Second-time.Duration(i)*20*time.Millisecond)
			all = append(all, call(within(t, own[i]), t, e, "client", "abc"))
			synctest.Wait()
		}
		for i, a := range all {
			got := <-a
			if scan.KindOf(got.err) != scan.KindTimeout || got.took < own[i] || got.took > own[i]+mostLate {
				t.Errorf("client %d: %+v with %v", i, got, own[i])
			}
		}
		if scans.scans.Load() != 1 {
			t.Errorf("%d scans", scans.scans.Load())
		}
	})
}

// What goes wrong goes wrong for all who asked, at once, and is forgotten.
func TestErrorsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, scans := newEngine(t, func(context.Context, scan.Object) (scan.Verdict, error) {
			time.Sleep(time.Second)
			return scan.Verdict{}, &scan.Error{Kind: scan.KindUnreachable, Op: "connect"}
		})
		first, second := call(t.Context(), t, e, "first", "abc"), call(t.Context(), t, e, "second", "abc")
		for _, a := range []<-chan answer{first, second} {
			if got := <-a; scan.KindOf(got.err) != scan.KindUnreachable || got.took != time.Second {
				t.Errorf("got %+v", got)
			}
		}
		<-call(t.Context(), t, e, "third", "abc")
		if scans.scans.Load() != 2 {
			t.Errorf("%d scans", scans.scans.Load())
		}
	})
}

// A panic of the engine ends its exchanges and not the process.
func TestPanic(t *testing.T) {
	e, _ := newEngine(t, func(context.Context, scan.Object) (scan.Verdict, error) { panic("decoder") })
	v, err := e.Scan(t.Context(), object("abc"))
	if scan.KindOf(err) != scan.KindInternal || err == nil || v.Outcome != scan.OutcomeUndecided {
		t.Errorf("got %+v, %v", v, err)
	}
}

// unreadable fails every read.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) {
	return 0, &scan.Error{Kind: scan.KindSpool, Op: "read the body"}
}

// stalling is content whose reads last until they are let go.
type stalling struct {
	io.ReaderAt
	begun, letGo chan struct{}
}

func (s stalling) ReadAt(p []byte, off int64) (int, error) {
	s.begun <- struct{}{}
	<-s.letGo
	return s.ReaderAt.ReadAt(p, off)
}

// A caller that leaves gets its content back when the read of it that is under
// way has ended, not before; the next read is of somebody else's.
func TestContentIsGivenBackWhole(t *testing.T) {
	e, scans := newEngine(t, judge)
	o := object(marker)
	content := stalling{o.Content, make(chan struct{}), make(chan struct{})}
	o.Content = content
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	left := make(chan error, 1)
	go func() {
		_, err := e.Scan(ctx, o)
		left <- err
	}()
	<-content.begun
	follower := call(within(t, time.Hour), t, e, "follower", marker)
	waitFor(t, "the follower to join", func() bool {
		e.flights.mu.Lock()
		defer e.flights.mu.Unlock()
		for _, f := range e.flights.now {
			return len(f.callers) == 2
		}
		return false
	})
	cancel()
	select {
	case <-left:
		t.Error("Scan returned while its content was being read")
		left <- context.Canceled
	case <-time.After(50 * time.Millisecond): // a synctest bubble does not see waiting for a mutex
	}
	close(content.letGo)
	<-left
	if got := <-follower; got.err != nil || got.v.Outcome != scan.OutcomeInfected || scans.scans.Load() != 1 {
		t.Errorf("follower: %+v, %d scans", got, scans.scans.Load())
	}
}

// One caller's broken body is not the others' problem.
func TestUnreadableContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newEngine(t, slowly)
		broken := object(marker)
		broken.Content = unreadable{}
		leader := make(chan error, 1)
		go func() {
			_, err := e.Scan(t.Context(), broken)
			leader <- err
		}()
		synctest.Wait()
		if got := <-call(t.Context(), t, e, "follower", marker); got.err != nil || got.v.Outcome != scan.OutcomeInfected {
			t.Errorf("follower: %+v", got)
		}
		<-leader
		broken.SHA256[0]++
		if _, err := e.Scan(t.Context(), broken); scan.KindOf(err) != scan.KindSpool {
			t.Errorf("alone: %v", err)
		}
	})
}

// An engine keeps the values of a caller's context, such as its trace.
func TestContextValues(t *testing.T) {
	type traceKey struct{}
	e, _ := newEngine(t, func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		if ctx.Value(traceKey{}) != "trace" {
			t.Error("the value is gone")
		}
		return judge(ctx, o)
	})
	if _, err := e.Scan(context.WithValue(t.Context(), traceKey{}, "trace"), object("abc")); err != nil {
		t.Error(err)
	}
}

// Callers come and go at random, and overwrite their content as soon as Scan has
// returned: nobody is told CLEAN about malware or the other way round, and the
// race detector sees no read of what was given back.
func TestComingAndGoing(t *testing.T) {
	c := newCache(t, Config{MemoryEntries: 1}) // nearly nothing is remembered
	e := c.Engine(Identity{Name: "av"}, engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		content := make([]byte, o.Size)
		for i := range content {
			if _, err := o.Content.ReadAt(content[i:i+1], int64(i)); err != nil && err != io.EOF {
				return scan.Verdict{}, err
			}
		}
		return judge(ctx, object(string(content)))
	}), always("v1"))
	var all sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 300 {
				which := rand.IntN(4)
				text := fmt.Sprintf("%064d", which)
				want := scan.OutcomeClean
				if which%2 == 1 {
					text += marker
					want = scan.OutcomeInfected
				}
				o, content := object(text), []byte(text)
				o.Content = bytes.NewReader(content)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if rand.IntN(2) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(50))*time.Microsecond, cancel)
				}
				v, err := e.Scan(ctx, o)
				for i := range content {
					content[i] = '!'
				}
				cancel()
				switch {
				case err == nil && v.Outcome == want:
					answered.Add(1)
				case err == nil:
					t.Errorf("%q: got %v", text, v.Outcome)
				case scan.KindOf(err) != scan.KindCanceled:
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if answered.Load() == 0 {
		t.Error("nobody was answered")
	}
	e.flights.mu.Lock()
	defer e.flights.mu.Unlock()
	if n := len(e.flights.now); n != 0 {
		t.Errorf("%d flights are left", n)
	}
}
