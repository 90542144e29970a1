package gate_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// single scans content by itself.
func (r *rig) single(t *testing.T, s gate.Single, content io.Reader) (gate.SingleResult, error) {
	t.Helper()
	g := gate.New(r.setup())
	result, err := g.ScanSingle(t.Context(), s, content)
	if g.Open() != 0 || len(r.records) != 1 {
		t.Errorf("%d exchanges are open, %d recorded", g.Open(), len(r.records))
	}
	return result, err
}

// freed fails the test when a body is held after its scan.
func (r *rig) freed(t *testing.T) {
	t.Helper()
	synctest.Wait()
	for i, n := range r.store.closes() {
		if n != 1 {
			t.Errorf("body %d was freed %d times", i, n)
		}
	}
}

// One object is judged as a body is, and told about whole.
func TestScanSingle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.unwrap = finds("part[1]")
		var names []string
		r.policy.ScanRequest, r.policy.ScanResponse = false, false // it was asked for
		r.engines["av"] = engine(func(_ context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Path != "body" {
				return scan.CleanVerdict(), nil
			}
			names = append(names, o.Name, o.ContentType)
			return scan.InfectedVerdict("Eicar"), nil
		})
		s := gate.Single{Name: "../x.pdf", Labels: scan.Labels{ContentType: []string{"a/b"}}}
		got, err := r.single(t, s, iotest.OneByteReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		want := gate.SingleResult{
			Decision: gate.Decision{Action: scan.Block, Covered: true, Verdict: scan.Verdict{
				Outcome: scan.OutcomeInfected, Cause: scan.CauseMalware, Threats: []string{"Eicar"}, Engine: "av", Object: "body",
			}},
			Policy: "default", Objects: 2, Size: int64(len(body)), SHA256: sha256.Sum256([]byte(body)), Whole: true,
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(gate.SingleResult{}, "Tree")); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"../x.pdf", "a/b"}, names); diff != "" {
			t.Errorf("the engine got (-want +got)\n%s", diff)
		}
		r.freed(t)
	})
}

// Beyond the limit nothing more is read: more bytes cannot change the verdict.
func TestScanSingleTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.engines["av"] = panics
		endless := &counting{}
		got, err := r.single(t, gate.Single{}, endless)
		if err != nil || got.Decision.Action != scan.Block || got.Decision.Verdict.Cause != scan.CauseTooLarge || got.Whole {
			t.Errorf("got %+v, %v", got, err)
		}
		if endless.read > r.policy.MaxBodyBytes+64<<10 {
			t.Errorf("%d bytes were read with a limit of %d", endless.read, r.policy.MaxBodyBytes)
		}
		r.freed(t)
	})
}

// counting never ends and counts what was read.
type counting struct{ read int64 }

func (c *counting) Read(p []byte) (int, error) {
	c.read += int64(len(p))
	return len(p), nil
}

// An error of the content is the caller's; a prefix is never judged.
func TestScanSingleReadError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.engines["av"] = panics
		broken := errors.New("the client left")
		got, err := r.single(t, gate.Single{}, io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || got.Whole || got.Decision.Verdict.Outcome != scan.OutcomeUndecided {
			t.Errorf("got %+v, %v", got, err)
		}
		if l := r.records[0].Legs[scan.Request]; l.Decided {
			t.Errorf("recorded as decided: %+v", l)
		}
		r.freed(t)
	})
}

// Bytes that come together with the end count.
func TestScanSingleDataWithEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		got, err := r.single(t, gate.Single{}, iotest.DataErrReader(strings.NewReader(body)))
		if err != nil || got.Size != int64(len(body)) || got.Decision.Verdict.Outcome != scan.OutcomeClean || !got.Whole {
			t.Errorf("got %+v, %v", got, err)
		}
		r.freed(t)
	})
}

// An engine that does not heed its context is given up, as for any door, and
// what it may still read is freed when it returns.
func TestScanSingleGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		r := newRig()
		r.engines["av"] = engine(func(context.Context, scan.Object) (scan.Verdict, error) {
			<-stop
			return scan.CleanVerdict(), nil
		})
		begun := time.Now()
		got, err := r.single(t, gate.Single{}, strings.NewReader(body))
		if err != nil || got.Decision.Action != scan.Block || got.Decision.Verdict.Cause != scan.CauseEngineTimeout {
			t.Errorf("got %+v, %v", got, err)
		}
		if took := time.Since(begun); took <= r.policy.ScanTimeout || took > r.policy.ScanTimeout+5*time.Second {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if diff := cmp.Diff([]int{0}, r.store.closes()); diff != "" {
			t.Errorf("freed while the engine reads (-want +got)\n%s", diff)
		}
		close(stop)
		r.freed(t)
	})
}

// Nothing to scan is clean; an unknown policy and a full store are verdicts.
func TestScanSingleWithoutEngines(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*rig)
		content string
		cause   scan.Cause
		action  scan.Action
	}{
		"empty":          {func(*rig) {}, "", scan.CauseEmpty, scan.Pass},
		"unknown policy": {func(r *rig) { r.broken = choosing(scan.CauseUnknownPolicy) }, body, scan.CauseUnknownPolicy, scan.Block},
		"no room": {
			func(r *rig) { r.store.appendErr = &scan.Error{Kind: scan.KindOverload, Op: "hold"} }, body,
			scan.CauseOverload, scan.Block,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig()
				r.engines["av"] = panics
				c.change(r)
				got, err := r.single(t, gate.Single{Policy: "x"}, strings.NewReader(c.content))
				if err != nil || got.Decision.Verdict.Cause != c.cause || got.Decision.Action != c.action {
					t.Errorf("got %+v, %v", got, err)
				}
				r.freed(t)
			})
		})
	}
}
