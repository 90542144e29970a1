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

// load runs clients that scan one thing after the other for a while and returns
// the 99th percentile of what they waited.
func load(t *testing.T, f *fleet.Fleet, clients int, d time.Duration) time.Duration {
	t.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for range clients {
		all.Go(func() {
			for time.Now().Before(end) {
				began := time.Now()
				wantClean(t, f, object("a body"))
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return took[len(took)*99/100]
}

// F-20: one of three instances takes 2 s more. The others take over, p99 stays
// within 1.5 times the healthy one, and when it has recovered it works again.
func TestGrayFailure(t *testing.T) {
	for _, c := range []struct {
		clients int
		healthy time.Duration
	}{{1, 20 * time.Millisecond}, {4, 5 * time.Millisecond}, {4, 100 * time.Millisecond}, {16, 20 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			healthy := taking(c.healthy)
			third := newChanging(healthy)
			var asked atomic.Int32
			f := newFleet(t, fleet.Options{}, healthy, healthy, counting(&asked, third.scan))
			defer run(t, f)()
			time.Sleep(time.Second)
			before := load(t, f, c.clients, time.Minute)
			share := float64(asked.Load())
			third.set(taking(c.healthy + 2*time.Second))
			asked.Store(0)
			during := load(t, f, c.clients, time.Minute)
			if 2*during > 3*before {
				t.Errorf("%d clients, %v a scan: p99 %v, was %v", c.clients, c.healthy, during, before)
			}
			if n := float64(asked.Load()); n > share/3 || n == 0 {
				t.Errorf("%d clients: the slow one got %v scans, was %v", c.clients, n, share)
			}
			if n := f.Stats().Instances[2].Ejections; n == 0 || n > 4 {
				t.Errorf("ejected %d times", n)
			}
			third.set(healthy)
			time.Sleep(25 * time.Second)
			asked.Store(0)
			load(t, f, c.clients, time.Minute)
			if n := float64(asked.Load()); n < share/2 {
				t.Errorf("%d clients: recovered, it gets %v scans, was %v", c.clients, n, share)
			}
		})
	}
}

// An instance that is out of favour is better than none.
func TestSlowOneIsLastResort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := taking(500 * time.Millisecond)
		quick := newChanging(taking(10 * time.Millisecond))
		f := newFleet(t, fleet.Options{MaxInFlight: 1}, quick.scan, slow)
		defer run(t, f)()
		time.Sleep(2 * time.Second)
		load(t, f, 2, 5*time.Second)
		if !f.Stats().Instances[1].Outlier {
			t.Fatal("the slow instance is no outlier")
		}
		quick.set(sparing(hanging))
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, _ = f.Scan(ctx, object("in the way"))
		}()
		synctest.Wait()
		began := time.Now()
		wantClean(t, f, object("patient"))
		if d := time.Since(began); d != 1500*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

// A large body does not make its instance slow.
func TestLargeBodyIsNoOutlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			return taking(5*time.Millisecond+time.Duration(o.Size/50)*time.Microsecond)(ctx, o)
		}
		f := newFleet(t, fleet.Options{}, e, e, e)
		defer run(t, f)()
		time.Sleep(time.Second)
		load(t, f, 3, time.Second)
		large := object(string(make([]byte, 64<<20))) // 1.3 s
		go func() { wantClean(t, f, large) }()
		load(t, f, 3, 3*time.Second)
		for _, i := range f.Stats().Instances {
			if i.Ejections != 0 {
				t.Errorf("%s was ejected", i.Label)
			}
		}
	})
}

// An instance that is stuck while the others answer is spared, and gets hardly
// any of the work although nothing it did can be measured.
func TestStuckInstanceIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := newChanging(taking(20 * time.Millisecond))
		var asked atomic.Int32
		f := newFleet(t, fleet.Options{}, taking(20*time.Millisecond), taking(20*time.Millisecond), counting(&asked, stuck.scan))
		defer run(t, f)()
		time.Sleep(time.Second)
		load(t, f, 4, 5*time.Second)
		stuck.set(sparing(hanging))
		asked.Store(0)
		end := time.Now().Add(time.Minute)
		var all sync.WaitGroup
		for c := range 4 {
			all.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					v, err := f.Scan(ctx, object(fmt.Sprint(c, " ", i)))
					cancel()
					if err != nil || v.Outcome != scan.OutcomeClean && v.Cause != scan.CauseScanTimeout {
						t.Errorf("got %+v, %v", v, err)
					}
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n == 0 || n > 12 {
			t.Errorf("the stuck one got %d scans", n)
		}
	})
}
