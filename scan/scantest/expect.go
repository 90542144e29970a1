package scantest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// scanWatched scans and fails the test when the engine, having returned, still
// reads the object.
func scanWatched(t *testing.T, ctx context.Context, e scan.Engine, o scan.Object) (scan.Verdict, error) {
	t.Helper()
	content := &watched{ReaderAt: o.Content}
	t.Cleanup(func() {
		if n := content.late.Load(); n > 0 {
			t.Errorf("content was read %d times after Scan had returned", n)
		}
	})
	o.Content = content
	v, err := e.Scan(ctx, o)
	content.returned.Store(true)
	return v, err
}

func wantClean(t *testing.T, e scan.Engine, o scan.Object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v, err := scanWatched(t, ctx, e, o)
	if err != nil {
		t.Errorf("clean object of %d bytes: error %v (%v), want CLEAN", o.Size, err, scan.KindOf(err))
		return
	}
	if v.Outcome != scan.OutcomeClean || v.Cause != scan.CauseScanned || len(v.Threats) > 0 {
		t.Errorf("clean object of %d bytes: %+v, want CLEAN, cause %q, no threats", o.Size, v, scan.CauseScanned)
	}
}

func wantInfected(t *testing.T, e scan.Engine, o scan.Object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v, err := scanWatched(t, ctx, e, o)
	if err != nil {
		t.Errorf("bad object: error %v (%v), want INFECTED", err, scan.KindOf(err))
		return
	}
	if v.Outcome != scan.OutcomeInfected || v.Cause != scan.CauseMalware {
		t.Errorf("bad object: %+v, want INFECTED, cause %q", v, scan.CauseMalware)
	}
	if len(v.Threats) == 0 || slices.Contains(v.Threats, "") {
		t.Errorf("bad object: threats %q, want at least one, each with a name", v.Threats)
	}
}

// wantError expects a failure that is an *scan.Error and nothing that could be
// taken for clean.
func wantError(t *testing.T, ctx context.Context, e scan.Engine, o scan.Object) {
	t.Helper()
	_ = failure(t, ctx, e, o)
}

// wantKind is wantError for a failure of one kind.
func wantKind(t *testing.T, ctx context.Context, e scan.Engine, o scan.Object, want scan.Kind) {
	t.Helper()
	err := failure(t, ctx, e, o)
	if err == nil {
		return
	}
	if got := scan.KindOf(err); got != want {
		t.Errorf("object of %d bytes: error %q of kind %v, want kind %v", o.Size, err, got, want)
	}
}

func failure(t *testing.T, ctx context.Context, e scan.Engine, o scan.Object) error {
	t.Helper()
	v, err := scanWatched(t, ctx, e, o)
	if err == nil {
		t.Errorf("object of %d bytes: %+v without an error, want an error", o.Size, v)
		return nil
	}
	if v.Outcome == scan.OutcomeClean {
		t.Errorf("object of %d bytes: error %v together with a CLEAN verdict", o.Size, err)
	}
	if _, ok := errors.AsType[*scan.Error](err); !ok {
		t.Errorf("object of %d bytes: error %v is a %T, want a *scan.Error", o.Size, err, err)
	}
	return err
}

func wantSoon(t *testing.T, end time.Time) {
	t.Helper()
	if late := time.Since(end); late > grace {
		t.Errorf("returned %v after its context ended, want at most %v", late, grace)
	}
}
