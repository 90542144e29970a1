package fleet_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// killedBy is an engine that dies of large objects.
func killedBy(asked *atomic.Int32) engine {
	return counting(asked, func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		if o.Size > 10 {
			return dying(ctx, o)
		}
		return right(ctx, o)
	})
}

// A body that breaks two instances is UNSCANNABLE, and then left alone for some
// minutes; a third instance never sees it.
func TestPoisonBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		e := killedBy(&asked)
		f := newFleet(t, fleet.Options{}, e, e, e)
		defer run(t, f)()
		poison := object("a body that kills engines")
		for range 10 {
			v, err := f.Scan(t.Context(), poison)
			wantUnscannable(t, v, err, scan.CauseEngineLimit)
		}
		if n := asked.Load(); n != 2 {
			t.Errorf("%d instances were asked", n)
		}
		if n := f.Stats().Refused; n != 10 {
			t.Errorf("%d refused", n)
		}
		wantClean(t, f, object("fine"))
		time.Sleep(6 * time.Minute)
		asked.Store(0)
		v, err := f.Scan(t.Context(), poison)
		wantUnscannable(t, v, err, scan.CauseEngineLimit)
		if n := asked.Load(); n != 2 {
			t.Errorf("%d instances were asked again", n)
		}
	})
}

// It is the same over two requests: without a budget for retries, the second one
// finds out.
func TestPoisonBodyOverRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		f := newFleet(t, fleet.Options{}, killedBy(&asked), killedBy(&asked))
		for i := range 3 { // use up the budget
			_, _ = f.Scan(t.Context(), object(fmt.Sprint("another body that kills ", i)))
		}
		defer run(t, f)() // and put both back in use
		synctest.Wait()
		poison, last := object("a body that kills engines"), scan.Verdict{}
		for range 4 { // in turns
			last, _ = f.Scan(t.Context(), poison)
		}
		wantUnscannable(t, last, nil, scan.CauseEngineLimit)
	})
}

// An instance that is alone, instances that refuse connections, and a verdict in
// between prove nothing against the content.
func TestNotPoison(t *testing.T) {
	body := object("a body that is innocent")
	var asked atomic.Int32
	alone := newFleet(t, fleet.Options{}, killedBy(&asked))
	refusing := newFleet(t, fleet.Options{}, dead, dead)
	for range 4 {
		wantKind(t, alone, body, scan.KindUnreachable)
		wantKind(t, refusing, body, scan.KindUnreachable)
	}
	a, b := newChanging(dying), newChanging(dead)
	f := newFleet(t, fleet.Options{}, a.scan, b.scan)
	for i := range 3 {
		a.set(right)
		b.set(right)
		wantClean(t, f, body)
		// One is restarted while it has the body, then the other one.
		a.set([]engine{dying, dead}[i%2])
		b.set([]engine{dead, dying}[i%2])
		wantKind(t, f, body, scan.KindUnreachable)
	}
}

// A body that ran out of time twice, while the engine answered others, is not
// tried again for a while, except with much more time.
func TestSlowBodyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		e := counting(&asked, func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Size > 10 {
				return taking(40*time.Second)(ctx, o)
			}
			return right(ctx, o)
		})
		f := newFleet(t, fleet.Options{}, e)
		slow := object("a body that takes for ever")
		for i, want := range []struct {
			asked int32
			took  time.Duration
		}{{1, 10 * time.Second}, {2, 10 * time.Second}, {2, 0}, {2, 0}} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			time.AfterFunc(5*time.Second, func() { _, _ = f.Scan(ctx, scan.Object{Path: "canary", Size: 1, Content: slow.Content}) })
			began := time.Now()
			v, err := f.Scan(ctx, slow)
			wantUnscannable(t, v, err, scan.CauseScanTimeout)
			if asked.Load() != want.asked || time.Since(began) != want.took {
				t.Errorf("request %d: %d asked, took %v", i, asked.Load(), time.Since(began))
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if v, err := f.Scan(ctx, slow); err != nil || v.Outcome != scan.OutcomeClean {
			t.Errorf("with a minute: %+v, %v", v, err)
		}
	})
}

// A time-out while the engine answers others is about the content, never ERROR.
func TestTimeoutOfOneContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Size > 10 {
				return hanging(ctx, o)
			}
			return right(ctx, o)
		}
		f := newFleet(t, fleet.Options{}, e)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		done := make(chan struct{})
		go func() {
			v, err := f.Scan(ctx, object("a body that takes for ever"))
			wantUnscannable(t, v, err, scan.CauseScanTimeout)
			close(done)
		}()
		time.Sleep(11 * time.Second)
		wantClean(t, f, object("quick"))
		<-done
	})
}

// An engine that answers nobody is an ERROR.
func TestTimeoutOfTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{}, hanging)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := f.Scan(ctx, object("fine")); scan.KindOf(err) != scan.KindTimeout {
			t.Errorf("got %v", err)
		}
	})
}

// What is remembered is bounded.
func TestPoisonIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		e := counting(&asked, func(ctx context.Context, o scan.Object) (scan.Verdict, error) { return sparing(dying)(ctx, o) })
		f := newFleet(t, fleet.Options{}, e, e)
		defer run(t, f)()
		for i := range 3000 {
			_, _ = f.Scan(t.Context(), object(fmt.Sprint("body ", i)))
			time.Sleep(11 * time.Second)
		}
		if n := fleet.Struck(f); n != 1024 {
			t.Errorf("%d contents are remembered", n)
		}
	})
}

// When connections break at random, the network is to blame: no content is.
func TestRandomBreaksAreNotPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn atomic.Int32
		e := sparing(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if turn.Add(1)%10 < 3 {
				return dying(ctx, o)
			}
			return right(ctx, o)
		})
		f := newFleet(t, fleet.Options{}, e, e, e)
		defer run(t, f)()
		refused := 0
		for i := range 2000 {
			if v, err := f.Scan(t.Context(), object(fmt.Sprint(i))); err == nil && v.Outcome == scan.OutcomeUnscannable {
				refused++
			}
			time.Sleep(50 * time.Millisecond)
		}
		if refused > 1 { // the first break of each instance may look like it
			t.Errorf("%d of 2000 were called UNSCANNABLE", refused)
		}
	})
}

// What one stuck instance does to a body is not held against the body: elsewhere
// it is judged.
func TestStuckInstanceIsNoWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := newChanging(right)
		other := newChanging(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Size > 10 {
				return busy(ctx, o)
			}
			return right(ctx, o)
		})
		f := newFleet(t, fleet.Options{}, stuck.scan, other.scan)
		body := object("a body that is innocent")
		scanFor2s := func(o scan.Object) (scan.Verdict, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			return f.Scan(ctx, o)
		}
		stuck.set(hanging)
		timeouts := 0
		for range 4 {
			for i := range 4 { // some of them at the other one
				time.AfterFunc(time.Second, func() { _, _ = scanFor2s(object(fmt.Sprint(i))) })
			}
			v, err := scanFor2s(body)
			if err == nil {
				wantUnscannable(t, v, err, scan.CauseScanTimeout)
				timeouts++
			}
			time.Sleep(20 * time.Second) // it is asked again
		}
		if timeouts < 2 {
			t.Fatalf("only %d time-outs", timeouts)
		}
		other.set(right)
		for range 3 {
			if v, err := scanFor2s(body); err == nil && v.Outcome == scan.OutcomeClean {
				return
			}
		}
		t.Error("the body is not judged")
	})
}
