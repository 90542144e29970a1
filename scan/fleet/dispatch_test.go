package fleet_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

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
		if s := f.Stats(); s.Queued != 0 || s.Instances[0].InFlight != 2 {
			t.Errorf("got %+v", s)
		}
		cancel()
	})
}

// F-15: a scan whose caller left holds its slot until the engine let go.
func TestCancelledScanCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stubborn := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			v, err := hanging(ctx, o)
			time.Sleep(3 * time.Second)
			return v, err
		}
		f := newFleet(t, fleet.Options{MaxInFlight: 1}, stubborn)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = f.Scan(ctx, object("slow")) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		wantKind(t, f, object("next"), scan.KindOverload)
		time.Sleep(3 * time.Second)
		if n := f.Stats().Instances[0].InFlight; n != 0 {
			t.Errorf("%d in flight", n)
		}
	})
}

// A scan waits for any instance's slot, in order of arrival.
func TestQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		e := func(d time.Duration) engine {
			return func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
				mu.Lock()
				order = append(order, o.Name)
				mu.Unlock()
				return taking(d)(ctx, o)
			}
		}
		f := newFleet(t, fleet.Options{MaxInFlight: 1}, e(700*time.Millisecond), e(30*time.Millisecond))
		var scans sync.WaitGroup
		for i := range 12 {
			scans.Go(func() {
				o := object("x")
				o.Name = fmt.Sprintf("%02d", i)
				wantClean(t, f, o)
			})
			synctest.Wait()
		}
		scans.Wait()
		if !slices.IsSorted(order) || len(order) != 12 {
			t.Errorf("served in the order %v", order)
		}
	})
}

// Who leaves the queue takes no slot along, and does not blame the engine.
func TestLeavingTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{MaxInFlight: 1}, taking(900*time.Millisecond))
		go func() { _, _ = f.Scan(t.Context(), object("slow")) }()
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, err := f.Scan(gone, object("x")); scan.KindOf(err) != scan.KindCanceled {
			t.Errorf("cancelled: %v", err)
		}
		late, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if v, err := f.Scan(late, object("x")); scan.KindOf(err) != scan.KindOverload {
			t.Errorf("out of time: %+v, %v", v, err)
		}
		wantClean(t, f, object("x"))
		if s := f.Stats(); s.Queued != 0 || s.Instances[0].InFlight != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

// When the last instance goes out of use, those who wait are told at once.
func TestQueueOfADyingFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{MaxInFlight: 5}, func(context.Context, scan.Object) (scan.Verdict, error) {
			time.Sleep(300 * time.Millisecond)
			return scan.Verdict{}, failure(scan.KindUnreachable, "gone")
		})
		for range 5 {
			go func() { _, _ = f.Scan(t.Context(), object("x")) }()
		}
		synctest.Wait()
		began := time.Now()
		var waiting sync.WaitGroup
		for range 50 {
			waiting.Go(func() {
				wantKind(t, f, object("x"), scan.KindUnreachable)
				if d := time.Since(began); d > 600*time.Millisecond {
					t.Errorf("told after %v", d)
				}
			})
		}
		waiting.Wait()
	})
}

// Never more in flight than the slots, whatever callers do; run it with -race.
func TestSlotsUnderStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slots = 3
		var busy [2]atomic.Int32
		e := func(i int) engine {
			return func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
				if n := busy[i].Add(1); n > slots {
					t.Errorf("%d scans at once", n)
				}
				defer busy[i].Add(-1)
				switch o.Size % 5 {
				case 0:
					time.Sleep(time.Millisecond)
					return dead(ctx, o)
				case 1:
					return hanging(ctx, o)
				}
				return taking(time.Duration(o.Size)*time.Millisecond)(ctx, o)
			}
		}
		f := newFleet(t, fleet.Options{MaxInFlight: slots}, e(0), e(1))
		var scans sync.WaitGroup
		for i := range 500 {
			scans.Go(func() {
				time.Sleep(time.Duration(i%37) * 11 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%13+1)*40*time.Millisecond)
				defer cancel()
				_, _ = f.Scan(ctx, object(fmt.Sprintf("%0*d", i%50+1, i)))
			})
		}
		scans.Wait()
		s := f.Stats()
		if s.Queued != 0 || s.Instances[0].InFlight != 0 || s.Instances[1].InFlight != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}
