package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a scan.Engine made of a function.
type engine func(ctx context.Context, o scan.Object) (scan.Verdict, error)

func (e engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) { return e(ctx, o) }

// right detects the test file, as any engine should.
func right(_ context.Context, o scan.Object) (scan.Verdict, error) {
	b, err := io.ReadAll(o.Reader())
	if err != nil {
		return scan.Verdict{}, err
	}
	if bytes.Contains(b, []byte("EICAR")) {
		return scan.InfectedVerdict("Eicar"), nil
	}
	return scan.CleanVerdict(), nil
}

func blind(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), nil }

func dead(context.Context, scan.Object) (scan.Verdict, error) {
	return scan.Verdict{}, &scan.Error{Kind: scan.KindUnreachable, Op: "connect", Err: errors.New("refused")}
}

func hanging(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
	<-ctx.Done()
	return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "wait for the verdict", Err: ctx.Err()}
}

func object(s string) scan.Object {
	return scan.Object{Path: "body", Size: int64(len(s)), Content: strings.NewReader(s)}
}

func newFleet(t *testing.T, o fleet.Options, engines ...engine) *fleet.Fleet {
	t.Helper()
	var is []fleet.Instance
	for i, e := range engines {
		is = append(is, fleet.Instance{Label: string(rune('a' + i)), Engine: e})
	}
	f, err := fleet.New("av", is, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A broken instance costs nothing but the detour.
func TestFailover(t *testing.T) {
	f := newFleet(t, fleet.Options{}, dead, right)
	for range 4 {
		v, err := f.Scan(t.Context(), object("fine"))
		if err != nil || v.Outcome != scan.OutcomeClean {
			t.Fatalf("got %v, %v", v, err)
		}
	}
	f = newFleet(t, fleet.Options{}, dead, dead)
	if _, err := f.Scan(t.Context(), object("fine")); scan.KindOf(err) != scan.KindUnreachable {
		t.Fatalf("all dead: %v", err)
	}
}

// A sick instance is asked only when no healthy one is left.
func TestHealthyFirst(t *testing.T) {
	var asked atomic.Int32
	sick := func(context.Context, scan.Object) (scan.Verdict, error) {
		asked.Add(1)
		return scan.CleanVerdict(), nil // calls everything clean: the canary sees it
	}
	f := newFleet(t, fleet.Options{}, sick, right)
	status := f.Probe(t.Context())
	if status[0].OK || !status[1].OK || !f.Healthy() {
		t.Fatalf("status %+v", status)
	}
	if !strings.Contains(status[0].Detail, "no working signatures") {
		t.Errorf("detail %q", status[0].Detail)
	}
	asked.Store(0)
	for range 5 {
		if _, err := f.Scan(t.Context(), object("fine")); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("the sick instance got %d scans", asked.Load())
	}
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
		done := make(chan scan.Verdict, 1)
		go func() {
			v, err := f.Scan(ctx, object("a body that takes for ever"))
			if err != nil {
				t.Error(err)
			}
			done <- v
		}()
		time.Sleep(10 * time.Second)
		if _, err := f.Scan(ctx, object("quick")); err != nil {
			t.Fatal(err)
		}
		if v := <-done; v.Outcome != scan.OutcomeUnscannable || v.Cause != scan.CauseScanTimeout {
			t.Errorf("got %+v", v)
		}
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

// Slots are bounded and the queue is bounded by time.
func TestInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{MaxInFlight: 2}, hanging)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			go func() { _, _ = f.Scan(ctx, object("slow")) }()
		}
		synctest.Wait()
		began := time.Now()
		_, err := f.Scan(ctx, object("third"))
		if scan.KindOf(err) != scan.KindOverload || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		cancel()
	})
}

// Health follows the engine, down at the next probe and up within 5 s.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		e := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if down.Load() {
				return dead(ctx, o)
			}
			return right(ctx, o)
		}
		f := newFleet(t, fleet.Options{}, e)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		synctest.Wait()
		if !f.Healthy() {
			t.Fatal("not healthy after the first probe")
		}
		down.Store(true)
		time.Sleep(31 * time.Second)
		if f.Healthy() {
			t.Error("still healthy with a dead engine")
		}
		down.Store(false)
		time.Sleep(5 * time.Second)
		if !f.Healthy() {
			t.Error("not back 5 s after its engine")
		}
		cancel()
		<-done
	})
}

// An engine without signatures, which calls all clean, is never healthy.
func TestBlindEngine(t *testing.T) {
	f := newFleet(t, fleet.Options{}, blind)
	if f.Probe(t.Context()); f.Healthy() {
		t.Error("an engine that detects nothing is called healthy")
	}
}
