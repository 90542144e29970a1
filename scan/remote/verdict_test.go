package remote_test

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/remote"
	"github.com/portcullis-av/portcullis/scan/scantest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

const (
	lines = "some text"
	clean = scan.OutcomeClean
)

func result(v scan.Verdict) *scanv1.Result {
	r := whole(v, []byte(lines))
	return &r
}

// TestVerdicts: what the far side says of an object, word by word, whatever it
// would do itself.
func TestVerdicts(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	o := scantest.Object([]byte(lines))
	for _, want := range []scan.Verdict{
		scan.CleanVerdict(),
		scan.InfectedVerdict("A.b", "C.d"),
		{Outcome: scan.OutcomePolicy, Cause: scan.CauseMacro, Threats: []string{"Heuristics.Macro"}},
		{Outcome: scan.OutcomePolicy, Cause: scan.CauseEncrypted},
		{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooDeep},
	} {
		want.Signatures = "v1"
		said := want
		said.Engine, said.Object = "clamav", "body/gzip"
		f.set(func(f *far) { f.result = result(said) })
		got, err := e.Scan(t.Context(), o)
		if !strings.Contains(got.Detail, `"clamav"`) || !strings.Contains(got.Detail, `"body/gzip"`) {
			t.Errorf("detail %q", got.Detail)
		}
		got.Detail = ""
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("(-want +got), %v:\n%s", err, diff)
		}
	}
	f.set(func(f *far) { f.result = result(scan.Verdict{Outcome: scan.OutcomeInfected, Cause: scan.CauseMalware}) })
	if v, err := e.Scan(t.Context(), o); err != nil || !slices.Equal(v.Threats, []string{"unnamed-threat"}) {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestUnproven: what is not exactly a verdict on exactly this object.
func TestUnproven(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	o := scantest.Object([]byte(lines))
	good := *result(scan.CleanVerdict())
	change := func(change func(*scanv1.Result)) *scanv1.Result {
		r := good
		change(&r)
		return &r
	}
	for name, r := range map[string]*scanv1.Result{
		"shorter":               change(func(r *scanv1.Result) { r.Size-- }),
		"longer":                change(func(r *scanv1.Result) { r.Size++ }),
		"another digest":        change(func(r *scanv1.Result) { r.SHA256 = sha256.Sum256([]byte("other")) }),
		"not whole":             change(func(r *scanv1.Result) { r.Whole = false }),
		"clean because empty":   result(scan.Verdict{Outcome: clean, Cause: scan.CauseEmpty}),
		"clean without a cause": result(scan.Verdict{Outcome: clean}),
		"clean by malware":      result(scan.Verdict{Outcome: clean, Cause: scan.CauseMalware}),
		"clean with a threat":   result(scan.Verdict{Outcome: clean, Cause: scan.CauseScanned, Threats: []string{"x"}}),
		"unknown cause":         result(scan.Verdict{Outcome: scan.OutcomePolicy, Cause: "new"}),
		"cause of another":      result(scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseMacro}),
		"malware for policy":    result(scan.Verdict{Outcome: scan.OutcomeInfected, Cause: scan.CauseMacro}),
		"error, unknown cause":  result(scan.Verdict{Outcome: scan.OutcomeError, Cause: "new"}),
		"undecided":             result(scan.Verdict{}),
	} {
		f.set(func(f *far) { f.result = r })
		if v, err := e.Scan(t.Context(), o); scan.KindOf(err) != scan.KindProtocol || v.Outcome != scan.OutcomeUndecided {
			t.Errorf("%s: %+v, %v (%v)", name, v, err, scan.KindOf(err))
		}
	}
}

// TestFarErrors: a far ERROR is an error here, of the same kind, although the
// far policy lets the object pass.
func TestFarErrors(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	o := scantest.Object([]byte(lines))
	for _, want := range []scan.Kind{
		scan.KindUnreachable, scan.KindTimeout, scan.KindProtocol, scan.KindRefused, scan.KindOverload, scan.KindSpool,
		scan.KindInternal, // a panic over content, say: it must not fail open here if it did not there
	} {
		f.set(func(f *far) { f.result = result(scan.Verdict{Outcome: scan.OutcomeError, Cause: want.Cause()}) })
		if v, err := e.Scan(t.Context(), o); scan.KindOf(err) != want || err == nil || v.Outcome != scan.OutcomeUndecided {
			t.Errorf("verdict ERROR(%s): %+v, %v (%v)", want.Cause(), v, err, scan.KindOf(err))
		}
	}
	// Calls that fail instead.
	for kind, want := range map[scan.Kind]scan.Kind{
		scan.KindUnreachable: scan.KindUnreachable, scan.KindTimeout: scan.KindTimeout, scan.KindCanceled: scan.KindUnreachable,
		scan.KindRefused: scan.KindRefused, scan.KindOverload: scan.KindOverload, scan.KindSpool: scan.KindProtocol,
	} {
		f.set(func(f *far) { f.result, f.err = nil, &scan.Error{Kind: kind, Op: "test"} })
		if v, err := e.Scan(t.Context(), o); scan.KindOf(err) != want || err == nil || v.Outcome != scan.OutcomeUndecided {
			t.Errorf("call fails with %v: %+v, %v (%v)", kind, v, err, scan.KindOf(err))
		}
	}
	f.set(func(f *far) {
		f.err, f.result = nil, result(scan.Verdict{Outcome: scan.OutcomeError, Cause: scan.CauseUnknownPolicy})
	})
	if v, err := e.Scan(t.Context(), o); scan.KindOf(err) != scan.KindRefused {
		t.Errorf("unknown policy: %+v, %v", v, err)
	}
}

// TestEarly: a far side that knows enough does not take the rest.
func TestEarly(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	f.set(func(f *far) {
		f.early = true
		f.result = &scanv1.Result{Verdict: scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooLarge}}
	})
	v, err := e.Scan(t.Context(), scantest.Object(scantest.Text(32<<20, 1)))
	if err != nil || v.Outcome != scan.OutcomeUnscannable || v.Cause != scan.CauseTooLarge {
		t.Errorf("%+v, %v", v, err)
	}
	f.set(func(f *far) { f.result = result(scan.CleanVerdict()) })
	if v, err := e.Scan(t.Context(), scantest.Object(scantest.Text(32<<20, 1))); scan.KindOf(err) != scan.KindProtocol {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestRequest: the policy and what the sender says, as far as it is text.
func TestRequest(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address, Policy: "strict"})
	for name, want := range map[string]string{
		"a.txt":                    "a.txt",
		"\xffa":                    "?a",
		strings.Repeat("a", 1024):  strings.Repeat("a", 1024),
		strings.Repeat("a", 1025):  "",
		strings.Repeat("\xff", 99): "?",
	} {
		o := scantest.Object([]byte(lines))
		o.Name, o.ContentType = name, "text/plain"
		if _, err := e.Scan(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		f.set(func(f *far) {
			if f.request.Policy != "strict" || f.request.FileName != want || !slices.Equal(f.request.Labels.ContentType, []string{"text/plain"}) {
				t.Errorf("%q: request %+v", name, f.request)
			}
		})
	}
}

// TestLoop: a remote engine that leads back to itself ends after 3 hops.
func TestLoop(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	f.set(func(f *far) { f.next = e })
	v, err := e.Scan(t.Context(), scantest.Object([]byte(lines)))
	if scan.KindOf(err) != scan.KindRefused || v.Outcome != scan.OutcomeUndecided {
		t.Errorf("%+v, %v (%v)", v, err, scan.KindOf(err))
	}
	f.set(func(f *far) {
		if f.scans != 3 {
			t.Errorf("it came by %d times, want 3", f.scans)
		}
	})
}

func TestSignatures(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	old := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	f.set(func(f *far) {
		f.engines = []scanv1.EngineState{
			{Name: "clamav", Signatures: scan.Signatures{Version: "27001", Built: old.Add(time.Hour)}},
			{Name: "builtin"},
			{Name: "other", Signatures: scan.Signatures{Version: "9", Built: old}},
		}
	})
	got, err := e.Signatures(t.Context())
	if err != nil || got.Version != "clamav=27001 other=9" || !got.Built.Equal(old) {
		t.Errorf("%+v, %v", got, err)
	}
	long := func(v string) {
		f.set(func(f *far) {
			f.engines = nil
			for range 50 {
				f.engines = append(f.engines, scanv1.EngineState{Name: "engine", Signatures: scan.Signatures{Version: v}})
			}
		})
	}
	long("1")
	one, err := e.Signatures(t.Context())
	if err != nil || len(one.Version) > 256 {
		t.Errorf("%+v, %v", one, err)
	}
	long("2")
	if two, err := e.Signatures(t.Context()); err != nil || one.Version == two.Version {
		t.Errorf("%+v after %+v, %v", two, one, err)
	}
	f.server.Stop()
	if got, err := e.Signatures(t.Context()); scan.KindOf(err) != scan.KindUnreachable {
		t.Errorf("%+v, %v", got, err)
	}
}
