package clamd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/clamd"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
)

const passed, degraded, failed = scan.GradePassed, scan.GradeDegraded, scan.GradeFailed

// wantGrades holds the findings to one grade each, in the order nested,
// encrypted, first, last, age; whatever did not pass says what to do.
func wantGrades(t *testing.T, e *clamd.Engine, limit int64, want ...scan.Grade) []scan.Finding {
	t.Helper()
	all := e.SelfTest(t.Context(), limit)
	var got []scan.Grade
	for _, f := range all {
		got = append(got, f.Grade)
		if (f.Remedy == "") != (f.Grade == passed) || f.Probe == "" || f.Result == "" {
			t.Errorf("finding %+v", f)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grades (-want +got):\n%s\n%+v", diff, all)
	}
	return all
}

// A clamd that is set up as it should be passes, and each setting that makes it
// call clean what it has not seen is found.
func TestSelfTestReal(t *testing.T) {
	const limit = 8 << 20
	good := clamdtest.RealOptions{StreamMaxLength: limit, MaxFileSize: limit, MaxScanSize: 4 * limit}
	for _, c := range []struct {
		name   string
		change func(o *clamdtest.RealOptions)
		want   []scan.Grade
	}{
		{"good", func(*clamdtest.RealOptions) {}, []scan.Grade{passed, passed, passed, passed, degraded}},
		{
			"as deep as can be", func(o *clamdtest.RealOptions) { o.Conf = []string{"MaxRecursion 100"} },
			[]scan.Grade{passed, passed, passed, passed, degraded},
		},
		{
			"limits in silence", func(o *clamdtest.RealOptions) { o.IgnoreLimits = true },
			[]scan.Grade{failed, passed, passed, passed, degraded},
		},
		{
			"encryption in silence", func(o *clamdtest.RealOptions) { o.IgnoreEncrypted = true },
			[]scan.Grade{passed, failed, passed, passed, degraded},
		},
		{
			"short streams", func(o *clamdtest.RealOptions) { o.StreamMaxLength = limit - 1 },
			[]scan.Grade{passed, passed, failed, failed, degraded},
		},
		{
			"small files", func(o *clamdtest.RealOptions) { o.MaxFileSize = limit - 1 },
			[]scan.Grade{passed, passed, failed, failed, degraded},
		},
		{
			"small files in silence", func(o *clamdtest.RealOptions) { o.MaxFileSize, o.IgnoreLimits = limit-1, true },
			[]scan.Grade{failed, passed, failed, failed, degraded},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := good
			c.change(&o)
			wantGrades(t, newEngine(t, clamdtest.StartReal(t, o).Unix()), limit, c.want...)
		})
	}
}

func TestSelfTestFake(t *testing.T) {
	loose := clamdtest.Signature{Name: "Loose", Pattern: clamdtest.EICAR()}
	now := func(age time.Duration) string {
		return "ClamAV 1.4.6/27500/" + time.Now().Add(-age).Format(time.ANSIC)
	}
	fake := func(o clamdtest.Options) *clamd.Engine {
		o.Signatures = []clamdtest.Signature{loose}
		return newEngine(t, clamdtest.Start(t, o).Address())
	}
	// The fake opens no archive, so nesting goes unnoticed.
	wantGrades(t, fake(clamdtest.Options{Version: now(time.Hour)}), 1<<20, failed, passed, passed, passed, passed)
	wantGrades(t, fake(clamdtest.Options{Version: now(49 * time.Hour)}), 1<<20, failed, passed, passed, passed, degraded)
	wantGrades(t, fake(clamdtest.Options{NoVersion: true}), 1, failed, passed, passed, passed, degraded)
	huge := wantGrades(t, fake(clamdtest.Options{}), 1<<32, failed, passed, failed, failed, degraded)
	if !strings.Contains(huge[2].Remedy, "lower max_body_bytes") {
		t.Errorf("finding %+v", huge[2])
	}
	gone := clamdtest.Start(t, clamdtest.Options{})
	gone.Stop()
	wantGrades(t, newEngine(t, gone.Address()), 1<<20, failed, failed, failed, failed, degraded)
}

// The archives are of exactly the size asked for, so that a limit is met on the byte.
func TestSelfTestSize(t *testing.T) {
	for _, limit := range []int64{1 << 10, 1<<20 - 1, 1 << 20, 1<<20 + 1} {
		e := newEngine(t, clamdtest.Start(t, clamdtest.Options{
			StreamMaxLength: limit, Signatures: []clamdtest.Signature{{Name: "Loose", Pattern: clamdtest.EICAR()}},
		}).Address())
		wantGrades(t, e, limit, failed, passed, passed, passed, degraded)
		wantGrades(t, e, limit+1, failed, passed, failed, failed, degraded)
	}
}
