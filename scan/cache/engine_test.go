package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// A cached engine is as good as the engine.
func TestConformance(t *testing.T) {
	scantest.Conformance(t, func(t *testing.T) scantest.Rig {
		var hang, broken atomic.Bool
		e, _ := newEngine(t, func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			switch {
			case hang.Load():
				<-ctx.Done()
				return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "scan", Err: ctx.Err()}
			case broken.Load():
				return scan.Verdict{}, &scan.Error{Kind: scan.KindUnreachable, Op: "scan"}
			}
			return judge(ctx, o)
		})
		// Each scan by another key, so that none is answered from memory.
		fresh := 0
		var mu sync.Mutex
		e.scopes.version = func() string {
			mu.Lock()
			defer mu.Unlock()
			fresh++
			return fmt.Sprint(fresh)
		}
		return scantest.Rig{
			Engine: e, Bad: []byte("some " + marker),
			Hang:  func(*testing.T) { hang.Store(true) },
			Break: func(*testing.T) { broken.Store(true) },
		}
	})
}

// The same bytes are scanned once, and the verdict is the same.
func TestRemembers(t *testing.T) {
	for _, c := range []struct {
		content string
		want    scan.Verdict
	}{
		{"fine", scan.Verdict{Outcome: scan.OutcomeClean, Cause: scan.CauseScanned, Signatures: "v1"}},
		{marker, scan.Verdict{Outcome: scan.OutcomeInfected, Cause: scan.CauseMalware, Threats: []string{"Test.Malware"}, Signatures: "v1"}},
	} {
		e, scans := newEngine(t, judge)
		for range 3 {
			if diff := cmp.Diff(c.want, mustScan(t, e, object(c.content), c.want.Outcome)); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.content, diff)
			}
		}
		if n := scans.scans.Load(); n != 1 {
			t.Errorf("%q: %d scans", c.content, n)
		}
		want := EngineStats{MemoryHits: 2, Misses: 1, Stored: 1}
		if diff := cmp.Diff(want, e.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	}
}

// What a caller does with the names does not reach the next one.
func TestThreatsAreCopies(t *testing.T) {
	e, _ := newEngine(t, judge)
	mustScan(t, e, object(marker), scan.OutcomeInfected)
	mustScan(t, e, object(marker), scan.OutcomeInfected).Threats[0] = "changed"
	if got := mustScan(t, e, object(marker), scan.OutcomeInfected).Threats[0]; got != "Test.Malware" {
		t.Errorf("got %q", got)
	}
}

// Only complete CLEAN and INFECTED verdicts are kept.
func TestKeepsNothingElse(t *testing.T) {
	for name, said := range map[string]scan.Verdict{
		"undecided":        {},
		"clean, odd cause": {Outcome: scan.OutcomeClean, Cause: scan.CauseEmpty},
		"clean with names": {Outcome: scan.OutcomeClean, Cause: scan.CauseScanned, Threats: []string{"A"}},
		"policy":           {Outcome: scan.OutcomePolicy, Cause: scan.CauseEncrypted},
		"limit":            {Outcome: scan.OutcomeUnscannable, Cause: scan.CauseEngineLimit},
		"time-out":         {Outcome: scan.OutcomeUnscannable, Cause: scan.CauseScanTimeout},
		"error":            {Outcome: scan.OutcomeError, Cause: scan.CauseEngineTimeout},
		"odd infected":     {Outcome: scan.OutcomeInfected, Cause: scan.CauseEnginePolicy},
		"other signatures": {Outcome: scan.OutcomeClean, Cause: scan.CauseScanned, Signatures: "v0"},
	} {
		e, scans := newEngine(t, func(context.Context, scan.Object) (scan.Verdict, error) { return said, nil })
		for range 2 {
			if v, err := e.Scan(t.Context(), object("x")); err != nil || !cmp.Equal(v, said) {
				t.Errorf("%s: got %+v, %v", name, v, err)
			}
		}
		if scans.scans.Load() != 2 || e.Stats().Stored != 0 {
			t.Errorf("%s was kept", name)
		}
	}
	broken := &scan.Error{Kind: scan.KindUnreachable, Op: "connect", Err: errors.New("refused")}
	e, scans := newEngine(t, func(context.Context, scan.Object) (scan.Verdict, error) { return scan.CleanVerdict(), broken })
	for range 2 {
		if _, err := e.Scan(t.Context(), object("x")); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	if scans.scans.Load() != 2 {
		t.Error("a verdict beside an error was kept")
	}
}

// Verdicts about other bytes, of other engines and under other settings are others.
func TestKey(t *testing.T) {
	c := newCache(t, Config{})
	scans := &counter{Engine: engineFunc(judge)}
	labelled := func(o scan.Object, name, contentType string) scan.Object {
		o.Name, o.ContentType = name, contentType
		return o
	}
	moved := object("x")
	moved.Path = "body/gzip"
	resized := object("xy")
	resized.SHA256 = object("x").SHA256 // as if two contents had one digest
	seen := int64(0)
	for _, step := range []struct {
		what  string
		id    Identity
		o     scan.Object
		fresh bool
	}{
		{"first", Identity{Name: "a"}, object("x"), true},
		{"another path", Identity{Name: "a"}, moved, false},
		{"another name", Identity{Name: "a"}, labelled(object("x"), "n", "text/plain"), false},
		{"another content", Identity{Name: "a"}, object("y"), true},
		{"another size", Identity{Name: "a"}, resized, true},
		{"another engine", Identity{Name: "b"}, object("x"), true},
		{"another configuration", Identity{Name: "a", Config: "1"}, object("x"), true},
		{"parts of the identity stay apart", Identity{Name: "a1"}, object("x"), true},
		{"an engine that looks at labels", Identity{Name: "a", Labels: true}, labelled(object("x"), "n", ""), true},
		{"the same label", Identity{Name: "a", Labels: true}, labelled(object("x"), "n", ""), false},
		{"another label", Identity{Name: "a", Labels: true}, labelled(object("x"), "m", ""), true},
		{"labels stay apart", Identity{Name: "a", Labels: true}, labelled(object("x"), "", "n"), true},
	} {
		mustScan(t, c.Engine(step.id, scans, always("v1")), step.o, scan.OutcomeClean)
		if fresh := scans.scans.Load() > seen; fresh != step.fresh {
			t.Errorf("%s: scanned %v, want %v", step.what, fresh, step.fresh)
		}
		seen = scans.scans.Load()
	}
}

// An object whose digest nobody computed must not share a key with all others.
func TestWithoutDigest(t *testing.T) {
	e, scans := newEngine(t, judge)
	clean, bad := object("nothing"), object(marker)
	clean.SHA256, bad.SHA256 = [32]byte{}, [32]byte{}
	mustScan(t, e, clean, scan.OutcomeClean)
	mustScan(t, e, bad, scan.OutcomeInfected)
	mustScan(t, e, bad, scan.OutcomeInfected)
	if scans.scans.Load() != 3 {
		t.Errorf("%d scans", scans.scans.Load())
	}
}

// Zero entries switch everything off.
func TestOff(t *testing.T) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	scans := &counter{Engine: engineFunc(judge)}
	e := c.Engine(Identity{Name: "av"}, scans, always("v1"))
	mustScan(t, e, object("x"), scan.OutcomeClean)
	mustScan(t, e, object("x"), scan.OutcomeClean)
	if scans.scans.Load() != 2 || e.Stats() != (EngineStats{}) || c.Stats() != (Stats{}) {
		t.Errorf("%d scans, %+v, %+v", scans.scans.Load(), e.Stats(), c.Stats())
	}
}

// An update of the signatures makes every older verdict unreachable.
func TestSignatureUpdate(t *testing.T) {
	version := "v1"
	scans := &counter{Engine: engineFunc(judge)}
	e := newCache(t, Config{}).Engine(Identity{Name: "av"}, scans, func() string { return version })
	for i, step := range []struct {
		version string
		scans   int64
	}{
		{"v1", 1},
		{"v1", 1},
		{"v2", 2},
		{"v2", 2},
		{"", 3}, // unknown
		{"", 3},
		{"v2", 3}, // what v2 said still holds
		{"", 4},   // another time of not knowing
	} {
		version = step.version
		v := mustScan(t, e, object("x"), scan.OutcomeClean)
		if scans.scans.Load() != step.scans || v.Signatures != step.version {
			t.Errorf("step %d: %d scans, %+v", i, scans.scans.Load(), v)
		}
	}
}

// Unknown signatures are never those of another start.
func TestUnknownSignaturesAreOfOneStart(t *testing.T) {
	c := newCache(t, Config{})
	scans := &counter{Engine: engineFunc(judge)}
	for range 2 {
		mustScan(t, c.Engine(Identity{Name: "av"}, scans, always("")), object("x"), scan.OutcomeClean)
	}
	if scans.scans.Load() != 2 {
		t.Errorf("%d scans", scans.scans.Load())
	}
}

// A verdict that straddles an update is given out and not kept, not even if the
// old version comes back meanwhile.
func TestUpdateDuringScan(t *testing.T) {
	for _, during := range [][]string{{"v2"}, {""}, {"v2", "v1"}} {
		var version atomic.Value
		version.Store("v1")
		var e *Engine
		scans := &counter{Engine: engineFunc(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
			for _, v := range during {
				version.Store(v)
				e.scopes.now() // somebody else's scan sees it
			}
			return judge(ctx, o)
		})}
		e = newCache(t, Config{}).Engine(Identity{Name: "av"}, scans, func() string { return version.Load().(string) })
		mustScan(t, e, object("x"), scan.OutcomeClean)
		version.Store("v1")
		mustScan(t, e, object("x"), scan.OutcomeClean)
		if scans.scans.Load() != 2 || e.Stats().Stored != 0 {
			t.Errorf("%v: %d scans, %d stored", during, scans.scans.Load(), e.Stats().Stored)
		}
	}
}

// CLEAN lives 15 minutes at most, INFECTED as long as configured but a day.
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		content       string
		ttl, expected time.Duration
	}{
		{"fine", 0, 15 * time.Minute},
		{"fine", time.Minute, time.Minute},
		{"fine", 24 * time.Hour, 15 * time.Minute},
		{marker, time.Minute, time.Minute},
		{marker, 6 * time.Hour, 6 * time.Hour},
		{marker, 1000 * time.Hour, 24 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			scans := &counter{Engine: engineFunc(judge)}
			e := newCache(t, Config{TTL: c.ttl}).Engine(Identity{Name: "av"}, scans, always("v1"))
			look := func(want int64) {
				t.Helper()
				if _, err := e.Scan(t.Context(), object(c.content)); err != nil || scans.scans.Load() != want {
					t.Errorf("%q, %v: %d scans, %v; want %d", c.content, c.ttl, scans.scans.Load(), err, want)
				}
			}
			look(1)
			time.Sleep(c.expected / 2)
			look(1)
			time.Sleep(c.expected/2 - time.Nanosecond)
			look(1) // being looked at does not make it live longer
			time.Sleep(time.Nanosecond)
			look(2)
		})
	}
}

// INFECTED is never turned into CLEAN, whoever comes last; it ends with its time.
func TestInfectedStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(10)
		infected := entry{infected: true, threats: []string{"A"}}
		if got := m.put(key{}, infected, time.Minute); !got.infected {
			t.Error("put INFECTED, got CLEAN")
		}
		if got := m.put(key{}, entry{}, time.Hour); !got.infected {
			t.Error("CLEAN replaced INFECTED")
		}
		time.Sleep(59 * time.Second)
		if got, ok := m.get(key{}); !ok || !got.infected {
			t.Errorf("got %+v, %v", got, ok)
		}
		time.Sleep(time.Second)
		if got := m.put(key{}, entry{}, time.Minute); got.infected {
			t.Error("an INFECTED that has expired came back")
		}
		if got := m.put(key{}, infected, time.Minute); !got.infected {
			t.Error("INFECTED did not replace CLEAN")
		}
	})
}

// Whoever asks after somebody was told INFECTED is told INFECTED, while verdicts
// of both kinds come in for one object and the signatures keep changing.
func TestInfectedStandsUnderUpdates(t *testing.T) {
	c := newCache(t, Config{})
	var version, turn atomic.Int64
	fickle := engineFunc(func(context.Context, scan.Object) (scan.Verdict, error) {
		if turn.Add(1)%5 == 0 {
			return scan.InfectedVerdict("A"), nil
		}
		return scan.CleanVerdict(), nil
	})
	e := c.Engine(Identity{Name: "av"}, fickle, func() string { return fmt.Sprint(version.Load()) })
	var infected sync.Map // signature version to true
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				before := version.Load()
				_, known := infected.Load(fmt.Sprint(before))
				v, err := e.Scan(t.Context(), object("x"))
				if err != nil {
					t.Error(err)
					return
				}
				if known && version.Load() == before && v.Outcome != scan.OutcomeInfected {
					t.Errorf("version %d: INFECTED became %v", before, v.Outcome)
					return
				}
				if v.Outcome == scan.OutcomeInfected && version.Load() == before {
					if _, kept := c.memory.get(e.scopes.key(e.scopes.now(), object("x"))); kept {
						infected.Store(v.Signatures, true)
					}
				}
			}
		})
	}
	all.Go(func() {
		for range 50 {
			time.Sleep(time.Millisecond)
			version.Add(1)
		}
	})
	all.Wait()
}

// The number of entries is bounded, whatever comes.
func TestBound(t *testing.T) {
	c := newCache(t, Config{MemoryEntries: 50})
	e := c.Engine(Identity{Name: "av"}, engineFunc(judge), always("v1"))
	for i := range 5000 {
		mustScan(t, e, object(fmt.Sprint("object ", i)), scan.OutcomeClean)
	}
	c.memory.cache.CleanUp()
	if n := c.Stats().Entries; n > 50 || n == 0 {
		t.Errorf("%d entries of 50", n)
	}
}
