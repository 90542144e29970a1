package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// A sick instance is asked only when no healthy one is left.
func TestHealthyFirst(t *testing.T) {
	var asked atomic.Int32
	wary := func(_ context.Context, o scan.Object) (scan.Verdict, error) {
		return scan.InfectedVerdict("everything"), nil
	}
	f := newFleet(t, fleet.Options{}, counting(&asked, wary), right)
	status := f.Probe(t.Context())
	if status[0].OK || !status[1].OK || !f.Healthy() {
		t.Fatalf("status %+v", status)
	}
	if !strings.Contains(status[0].Detail, "a clean text was called INFECTED") {
		t.Errorf("detail %q", status[0].Detail)
	}
	for range 5 {
		wantClean(t, f, object("fine"))
	}
	if asked.Load() != 0 {
		t.Errorf("the sick instance got %d scans", asked.Load())
	}
}

// F-13: an engine without signatures, which calls all clean, is never healthy and
// never asked.
func TestBlindEngine(t *testing.T) {
	var asked atomic.Int32
	f := newFleet(t, fleet.Options{}, counting(&asked, blind))
	if status := f.Probe(t.Context()); f.Healthy() || !strings.Contains(status[0].Detail, "no working signatures") {
		t.Errorf("an engine that detects nothing: %+v", status[0])
	}
	wantKind(t, f, object("fine"), scan.KindProtocol)
	if asked.Load() != 0 || !f.Stats().Instances[0].Open {
		t.Errorf("it was asked %d times", asked.Load())
	}
}

// Health follows the engine, down at the next probe and up within 5 s, even if the
// engine never answers the probes it got while it hung.
func TestRun(t *testing.T) {
	for name, broken := range map[string]engine{"dead": dead, "hanging": hanging, "blind": blind} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newChanging(right)
				f := newFleet(t, fleet.Options{}, e.scan)
				defer run(t, f)()
				synctest.Wait()
				if !f.Healthy() {
					t.Fatal("not healthy after the first probe")
				}
				e.set(broken)
				time.Sleep(41 * time.Second)
				if f.Healthy() {
					t.Error("still healthy with a broken engine")
				}
				e.set(right)
				time.Sleep(5 * time.Second)
				if !f.Healthy() {
					t.Error("not back 5 s after its engine")
				}
				wantClean(t, f, object("fine"))
			})
		})
	}
}

// Probes come at a constant rate, however much is asked: one every 30 s when all
// is well, one every second when not.
func TestProbeRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		e := newChanging(right)
		f := newFleet(t, fleet.Options{}, func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			if strings.Contains(o.Path, "canary") {
				probes.Add(1)
			}
			return e.scan(ctx, o)
		})
		defer run(t, f)()
		for range 3000 {
			wantClean(t, f, object("fine"))
			time.Sleep(100 * time.Millisecond)
		}
		if n := probes.Load(); n != 2*11 { // at 0 s, 30 s … 300 s; two objects each
			t.Errorf("%d canaries in 300 s", n)
		}
		e.set(dead)
		time.Sleep(40 * time.Second)
		probes.Store(0)
		for range 600 {
			wantKind(t, f, object("fine"), scan.KindUnreachable)
			time.Sleep(100 * time.Millisecond)
		}
		if n := probes.Load(); n < 59 || n > 61 { // one object: it fails
			t.Errorf("%d canaries in 60 s", n)
		}
	})
}

// A scan on an otherwise idle engine that takes too long is told from an engine
// that is stuck: a probe comes before the scan's time is over, however short that
// is and however rare probes are.
func TestSuspicion(t *testing.T) {
	for name, c := range map[string]struct {
		deadline time.Duration
		opts     fleet.Options
	}{
		"usual":                 {10 * time.Second, fleet.Options{}},
		"short deadline":        {1500 * time.Millisecond, fleet.Options{}},
		"rare canaries":         {30 * time.Second, fleet.Options{CanaryInterval: 10 * time.Minute}},
		"the engine's deadline": {60 * time.Second, fleet.Options{CanaryInterval: 10 * time.Minute, ScanTimeout: 5 * time.Second}},
	} {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stuck %v", name, stuck), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hang := bounded(c.opts.ScanTimeout, hanging)
					if !stuck {
						hang = sparing(hang)
					}
					e := newChanging(right)
					f := newFleet(t, c.opts, e.scan)
					defer run(t, f)()
					time.Sleep(5 * time.Second)
					e.set(hang)
					ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
					defer cancel()
					v, err := f.Scan(ctx, object("alone"))
					if !stuck {
						wantUnscannable(t, v, err, scan.CauseScanTimeout)
					} else if scan.KindOf(err) != scan.KindTimeout {
						t.Errorf("got %+v, %v", v, err)
					}
				})
			})
		}
	}
}

// Content that hangs takes no engine out of use that answers its probes.
func TestHangingContentOpensNoBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newChanging(right)
		f := newFleet(t, fleet.Options{}, e.scan)
		defer run(t, f)()
		synctest.Wait()
		e.set(sparing(hanging))
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			v, err := f.Scan(ctx, object(fmt.Sprint("hangs ", i)))
			wantUnscannable(t, v, err, scan.CauseScanTimeout)
			cancel()
		}
		if f.Stats().Instances[0].Open {
			t.Error("the breaker is open")
		}
	})
}

// bounded ends an engine's scans by itself.
func bounded(d time.Duration, e engine) engine {
	if d == 0 {
		return e
	}
	return func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return e(ctx, o)
	}
}

// A verdict of an instance that failed its last probe says so, and that an
// instance was blind is told for good.
func TestUnproven(t *testing.T) {
	e := newChanging(right)
	f := newFleet(t, fleet.Options{}, e.scan)
	for _, c := range []struct {
		probed engine
		want   string
		blind  bool
	}{
		{right, "", false},
		{garbled, fleet.Unproven, false},
		{right, "", false},
		{blind, fleet.Unproven, true},
		{right, "", true},
		{dead, fleet.Unproven, true},
	} {
		e.set(c.probed)
		status := f.Probe(t.Context())[0]
		if status.Blind.IsZero() == c.blind {
			t.Errorf("%+v", status)
		}
		e.set(right)
		v, err := f.Scan(t.Context(), object("fine"))
		if f.Stats().Instances[0].Open {
			continue // nobody is asked
		}
		if err != nil || v.Outcome != scan.OutcomeClean || v.Signatures != c.want {
			t.Errorf("got %+v, %v, want signatures %q", v, err, c.want)
		}
	}
}

// An engine that panics at a canary is not healthy, and ends nothing.
func TestPanickingProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newChanging(func(context.Context, scan.Object) (scan.Verdict, error) { panic("at a canary") })
		f := newFleet(t, fleet.Options{}, e.scan)
		defer run(t, f)()
		synctest.Wait()
		if s := f.Status()[0]; s.OK || scan.KindOf(s.Err) != scan.KindInternal {
			t.Errorf("got %+v", s)
		}
		e.set(right)
		time.Sleep(5 * time.Second)
		wantClean(t, f, object("fine"))
	})
}

// signer fails to tell its signatures.
type signer struct{ engine }

func (signer) Signatures(context.Context) (scan.Signatures, error) {
	return scan.Signatures{Version: "7"}, nil
}

// SelfTest is what a self-testing engine adds.
func (signer) SelfTest(context.Context, int64) []scan.Finding {
	return []scan.Finding{{Probe: "deeper", Grade: scan.GradePassed}}
}

// A self test asks canaries first, and the engine's own tests only of one that
// passes them.
func TestSelfTest(t *testing.T) {
	f, err := fleet.New("av", []fleet.Instance{
		{Label: "good", Engine: signer{right}}, {Label: "gone", Engine: signer{dead}}, {Label: "plain", Engine: engine(right)},
	}, fleet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := f.SelfTest(t.Context(), 1000)
	for i, want := range [][]scan.Grade{
		{scan.GradePassed, scan.GradePassed}, {scan.GradeFailed}, {scan.GradePassed},
	} {
		if len(got[i].Findings) != len(want) {
			t.Errorf("%s: %+v", got[i].Label, got[i].Findings)
			continue
		}
		for j, g := range want {
			if finding := got[i].Findings[j]; finding.Grade != g || (g == scan.GradeFailed) != (finding.Remedy != "") {
				t.Errorf("%s: %+v", got[i].Label, finding)
			}
		}
	}
	if v := f.Status()[0].Signatures.Version; v != "7" {
		t.Errorf("signatures %q", v)
	}
}

// Scans wait for the first probe: an engine that was started without signatures
// must not judge the first bodies.
func TestFirstProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{}, taking(200*time.Millisecond))
		defer run(t, f)()
		synctest.Wait()
		began := time.Now()
		wantClean(t, f, object("early"))
		if d := time.Since(began); d != 600*time.Millisecond { // two objects of the probe, then this one
			t.Errorf("judged after %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			time.Sleep(100 * time.Millisecond)
			return blind(ctx, o)
		}
		f := newFleet(t, fleet.Options{}, slow)
		defer run(t, f)()
		synctest.Wait()
		wantKind(t, f, object("early"), scan.KindProtocol)
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, fleet.Options{}, hanging)
		defer run(t, f)()
		synctest.Wait()
		began := time.Now()
		wantKind(t, f, object("early"), scan.KindUnreachable)
		if d := time.Since(began); d != time.Second {
			t.Errorf("told after %v", d)
		}
	})
}

// An engine that refuses the key is not asked every second: it may bill.
func TestRefusedIsProbedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		f := newFleet(t, fleet.Options{}, func(context.Context, scan.Object) (scan.Verdict, error) {
			probes.Add(1)
			return scan.Verdict{}, failure(scan.KindRefused, "401")
		})
		defer run(t, f)()
		time.Sleep(65 * time.Second)
		if n := probes.Load(); n > 8 {
			t.Errorf("%d probes in 65 s", n)
		}
	})
}
