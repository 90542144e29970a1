package icap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/icap/icaptest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// infected is an object of n bytes that clamd finds something in.
func infected(n int) scan.Object {
	marker := clamdtest.Marker()
	return scantest.Object(append(marker, scantest.Text(n-len(marker), 1)...))
}

// newBrief is newEngine with connections that are not kept: c-icap does not stop
// while some are open.
func newBrief(t *testing.T, c icap.Config) *icap.Engine {
	t.Helper()
	c.MaxIdle = -1
	return newEngine(t, c)
}

// TestEarlySendReal: c-icap as Debian sets it up begins to send before it has a
// verdict. What comes back then has no field that says so.
func TestEarlySendReal(t *testing.T) {
	r, _ := startReal(t, icaptest.RealOptions{
		Service: "allow204=off&mode=simple&sizelimit=on", MaxObjectSize: 5,
		Conf: []string{"virus_scan.SendPercentData 5", "virus_scan.StartSendPercentDataAfter 0"},
	})
	e := newBrief(t, icap.Config{URL: r.URL(), AcceptEcho: true, MaxObjectBytes: 4 * mib})
	strict := newBrief(t, icap.Config{URL: r.URL(), MaxObjectBytes: 4 * mib})
	for _, size := range []int{100, 20_000, 3 * mib, 4 * mib} {
		wantClean(t, e, text(size))
		// A server that offers 204 and sends the object back proves nothing.
		if v, err := scanIt(t, strict, text(size)); err != nil ||
			v.Outcome != scan.OutcomeClean && (v.Outcome != scan.OutcomeUnscannable || v.Cause != scan.CauseEngineLimit) {
			t.Errorf("%d bytes: %+v, %v", size, v, err)
		}
		for _, engine := range []*icap.Engine{e, strict} {
			v, err := scanIt(t, engine, infected(size))
			if err != nil || v.Outcome != scan.OutcomeInfected && v.Outcome != scan.OutcomePolicy {
				t.Errorf("%d infected bytes: %+v, %v", size, v, err)
			}
		}
	}
}

// TestObjectLimitReal: over its MaxObjectSize c-icap lets everything pass, by
// 204 or by echo, and says nothing. The proof sees it.
func TestObjectLimitReal(t *testing.T) {
	for _, service := range []string{"allow204=on&mode=simple&sizelimit=on", "allow204=off&mode=simple&sizelimit=on"} {
		r, _ := startReal(t, icaptest.RealOptions{Service: service, MaxObjectSize: 5})
		for _, preview := range []int{0, 4096} {
			over := newBrief(t, icap.Config{URL: r.URL(), AcceptEcho: true, MaxPreview: preview, MaxObjectBytes: 12 * mib})
			wantKind(t, over, text(10), scan.KindRefused)
			v, err := scanIt(t, over, infected(11*mib))
			if v.Outcome == scan.OutcomeClean || err == nil && v.Outcome != scan.OutcomeUnscannable {
				t.Errorf("%+v, %v", v, err)
			}
			e := newBrief(t, icap.Config{URL: r.URL(), AcceptEcho: true, MaxPreview: preview, MaxObjectBytes: 4 * mib})
			wantClean(t, e, text(4*mib))
			wantVerdict(t, e, infected(4*mib), scan.OutcomeInfected, scan.CauseMalware)
		}
	}
}

// TestTypesReal: what c-icap is told not to scan it lets pass after the preview.
func TestTypesReal(t *testing.T) {
	r, _ := startReal(t, icaptest.RealOptions{ScanFileTypes: "ARCHIVE"})
	e := newBrief(t, icap.Config{URL: r.URL(), MaxPreview: 4096, MaxObjectBytes: mib})
	wantVerdict(t, e, infected(10_000), scan.OutcomeUnscannable, scan.CauseEngineLimit)
	r, _ = startReal(t, icaptest.RealOptions{ScanFileTypes: "EXECUTABLE"})
	for _, preview := range []int{0, 4096} {
		wantKind(t, newBrief(t, icap.Config{URL: r.URL(), MaxPreview: preview, MaxObjectBytes: mib}), text(10), scan.KindRefused)
	}
}

// TestNoClamdReal: c-icap without its clamd.
func TestNoClamdReal(t *testing.T) {
	r, daemon := startReal(t, icaptest.RealOptions{})
	e := newBrief(t, icap.Config{URL: r.URL()})
	wantClean(t, e, text(100))
	daemon.Stop()
	wantKind(t, e, text(100), scan.KindProtocol)
	wantKind(t, e, infected(100), scan.KindProtocol)

	// Told to let pass what it could not scan, it says 204: one more thing that
	// only a known-bad file shows.
	r, daemon = startReal(t, icaptest.RealOptions{PassOnError: true})
	daemon.Stop()
	wantKind(t, newBrief(t, icap.Config{URL: r.URL()}), text(100), scan.KindRefused)
}

// TestNamesReal: the name of what was found, over both methods, and the version.
func TestNamesReal(t *testing.T) {
	r, _ := startReal(t, icaptest.RealOptions{})
	for _, method := range []string{icap.MethodRespmod, icap.MethodReqmod} {
		e := newBrief(t, icap.Config{URL: r.URL(), Method: method})
		v := wantVerdict(t, e, infected(200), scan.OutcomeInfected, scan.CauseMalware)
		if !slices.Equal(v.Threats, []string{clamdtest.MarkerName}) {
			t.Errorf("threats %q", v.Threats)
		}
		got, err := e.Signatures(t.Context())
		if err != nil || !strings.HasPrefix(got.Version, "CI") || !got.Built.IsZero() {
			t.Errorf("signatures %+v, %v", got, err)
		}
	}
	missing := newBrief(t, icap.Config{URL: strings.TrimSuffix(r.URL(), "avscan") + "none"})
	wantKind(t, missing, text(100), scan.KindRefused)
}
