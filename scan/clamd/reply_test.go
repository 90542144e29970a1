package clamd

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

// verdicts are complete replies and what they mean.
var verdicts = map[string]scan.Verdict{
	"stream: OK\x00": scan.CleanVerdict(),
	"stream: Test.Eicar.UNOFFICIAL FOUND\x00":                   scan.InfectedVerdict("Test.Eicar.UNOFFICIAL"),
	"stream: Win.Test.EICAR_HDB-1 FOUND\x00":                    scan.InfectedVerdict("Win.Test.EICAR_HDB-1"),
	"stream: a FOUND b FOUND\x00":                               scan.InfectedVerdict("a FOUND b"),
	"stream: OK FOUND\x00":                                      scan.InfectedVerdict("OK"),
	"stream: OK\nstream: x FOUND\x00":                           scan.InfectedVerdict("OK\nstream: x"),
	"stream:  FOUND\x00":                                        scan.InfectedVerdict("unnamed-threat"),
	"stream: \xff\xfe FOUND\x00":                                scan.InfectedVerdict("\xff\xfe"),
	"stream: A.b-1(0123456789abcdef:5) FOUND\x00":               scan.InfectedVerdict("A.b-1"),
	"stream: A.b-1(not:this) FOUND\x00":                         scan.InfectedVerdict("A.b-1(not:this)"),
	"stream: Heuristics.Phishing.Email.SpoofedDomain FOUND\x00": scan.InfectedVerdict("Heuristics.Phishing.Email.SpoofedDomain"),
	"stream: Heuristics.Limits.ExceededNot FOUND\x00":           scan.InfectedVerdict("Heuristics.Limits.ExceededNot"),
	"stream: Heuristics.Limits.Exceeded.X.UNOFFICIAL FOUND\x00": scan.InfectedVerdict("Heuristics.Limits.Exceeded.X.UNOFFICIAL"),
	"stream: Heuristics.Limits.Exceeded FOUND\x00":              named(scan.OutcomeUnscannable, scan.CauseEngineLimit, "Heuristics.Limits.Exceeded"),
	"stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND\x00":  named(scan.OutcomeUnscannable, scan.CauseEngineLimit, "Heuristics.Limits.Exceeded.MaxScanTime"),
	"stream: Heuristics.Encrypted.Zip FOUND\x00":                named(scan.OutcomePolicy, scan.CauseEncrypted, "Heuristics.Encrypted.Zip"),
	"stream: Heuristics.Encrypted.Zip(ab:12) FOUND\x00":         named(scan.OutcomePolicy, scan.CauseEncrypted, "Heuristics.Encrypted.Zip"),
	"stream: Heuristics.OLE2.ContainsMacros FOUND\x00":          named(scan.OutcomePolicy, scan.CauseMacro, "Heuristics.OLE2.ContainsMacros"),
	"stream: Heuristics.OLE2.ContainsMacros.VBA FOUND\x00":      named(scan.OutcomePolicy, scan.CauseMacro, "Heuristics.OLE2.ContainsMacros.VBA"),
	"INSTREAM size limit exceeded. ERROR\x00":                   failing(scan.CauseTooLarge, "INSTREAM size limit exceeded. ERROR"),
	"stream: Can't parse data ERROR\x00":                        failing(scan.CauseMalformedBody, "Can't parse data"),
	"stream: Bad format or broken data ERROR\x00":               failing(scan.CauseMalformedBody, "Bad format or broken data"),
	"stream: Exceeded time limit ERROR\x00":                     failing(scan.CauseScanTimeout, "Exceeded time limit"),
	"stream: Exceeded max scan size ERROR\x00":                  failing(scan.CauseEngineLimit, "Exceeded max scan size"),
}

func named(o scan.Outcome, c scan.Cause, threat string) scan.Verdict {
	return scan.Verdict{Outcome: o, Cause: c, Threats: []string{threat}}
}

func failing(c scan.Cause, detail string) scan.Verdict {
	return scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: c, Detail: detail}
}

func TestParseReplyVerdicts(t *testing.T) {
	for raw, want := range verdicts {
		got, err := parseReply([]byte(raw))
		if err != nil {
			t.Errorf("%q: %v", raw, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", raw, diff)
		}
	}
}

// failures are replies that prove nothing.
var failures = map[string]scan.Kind{
	"":                                          scan.KindProtocol,
	"\x00":                                      scan.KindProtocol,
	"OK\x00":                                    scan.KindProtocol,
	"stream: OK":                                scan.KindProtocol,
	"stream: OK\n":                              scan.KindProtocol,
	"stream: OK \x00":                           scan.KindProtocol,
	"stream:  OK\x00":                           scan.KindProtocol,
	"stream: ok\x00":                            scan.KindProtocol,
	"stream:OK\x00":                             scan.KindProtocol,
	" stream: OK\x00":                           scan.KindProtocol,
	"Stream: OK\x00":                            scan.KindProtocol,
	"stream: OK\r\x00":                          scan.KindProtocol,
	"stream: OK\n\x00":                          scan.KindProtocol,
	"stream: OK\x00\x00":                        scan.KindProtocol,
	"stream: OK\x00stream: OK\x00":              scan.KindProtocol,
	"stream: OK\nstream: OK\x00":                scan.KindProtocol,
	"stream: x FOUND\nstream: OK\x00":           scan.KindProtocol,
	"1: stream: OK\x00":                         scan.KindProtocol,
	"fd[12]: OK\x00":                            scan.KindProtocol,
	"stream: FOUND\x00":                         scan.KindProtocol,
	"stream: x found\x00":                       scan.KindProtocol,
	"s\x00t\x00r\x00e\x00a\x00m\x00":            scan.KindProtocol,
	"\xff\xfes\x00t\x00":                        scan.KindProtocol,
	"UNKNOWN COMMAND\x00":                       scan.KindProtocol,
	"COMMAND READ TIMED OUT\n":                  scan.KindProtocol,
	"COMMAND READ TIMED OUT\x00":                scan.KindProtocol,
	"COMMAND UNAVAILABLE\x00":                   scan.KindRefused,
	"stream: Can't allocate memory ERROR\x00":   scan.KindProtocol,
	"Error writing to temporary file ERROR\x00": scan.KindProtocol,
	"stream: INSTREAM size limit exceeded. ERROR\x00": scan.KindProtocol,
	"HTTP/1.1 200 OK\r\n\r\n":                         scan.KindProtocol,
}

func TestParseReplyFailures(t *testing.T) {
	for raw, want := range failures {
		wantFailure(t, []byte(raw), want)
	}
	wantFailure(t, append(bytes.Repeat([]byte("x"), maxReply), 0), scan.KindProtocol)
	wantFailure(t, []byte("stream: "+strings.Repeat("x", maxReply)+" FOUND\x00"), scan.KindProtocol)
}

func wantFailure(t *testing.T, raw []byte, want scan.Kind) {
	t.Helper()
	v, err := parseReply(raw)
	if err == nil || scan.KindOf(err) != want || v.Outcome != scan.OutcomeUndecided {
		t.Errorf("%.60q: verdict %+v, error %v (%v); want an error of kind %v", raw, v, err, scan.KindOf(err), want)
	}
}

// TestParseReplyCut: no part of a reply is a verdict.
func TestParseReplyCut(t *testing.T) {
	for raw := range verdicts {
		for n := range len(raw) {
			wantFailure(t, []byte(raw[:n]), scan.KindProtocol)
		}
	}
}

// TestClean: there is one reply that is CLEAN, and no neighbour of it is.
func TestClean(t *testing.T) {
	const clean = "stream: OK\x00"
	for i := range len(clean) {
		for b := range 256 {
			raw := []byte(clean)
			raw[i] = byte(b)
			if string(raw) != clean {
				wantNotClean(t, raw)
			}
			wantNotClean(t, slices.Insert([]byte(clean), i, byte(b)))
		}
		wantNotClean(t, slices.Delete([]byte(clean), i, i+1))
	}
	for b := range 256 {
		wantNotClean(t, append([]byte(clean), byte(b)))
	}
}

func wantNotClean(t *testing.T, raw []byte) {
	t.Helper()
	if v, _ := parseReply(raw); v.Outcome == scan.OutcomeClean {
		t.Errorf("%q is CLEAN", raw)
	}
}

func FuzzReply(f *testing.F) {
	for raw := range verdicts {
		f.Add([]byte(raw))
	}
	for raw := range failures {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := parseReply(raw)
		if (v.Outcome == scan.OutcomeClean) != (string(raw) == "stream: OK\x00") {
			t.Errorf("%q: %+v", raw, v)
		}
		if (err == nil) == (v.Outcome == scan.OutcomeUndecided) {
			t.Errorf("%q: verdict %+v and error %v", raw, v, err)
		}
		if kind := scan.KindOf(err); err != nil && kind != scan.KindProtocol && kind != scan.KindRefused {
			t.Errorf("%q: error of kind %v", raw, kind)
		}
		if v.Outcome == scan.OutcomeInfected && (len(v.Threats) != 1 || v.Threats[0] == "" || v.Cause != scan.CauseMalware) {
			t.Errorf("%q: INFECTED without a name: %+v", raw, v)
		}
		if after, ok := bytes.CutPrefix(raw, []byte("stream: ")); ok && bytes.HasSuffix(after, []byte(" FOUND\x00")) &&
			bytes.Count(raw, []byte{0}) == 1 && len(raw) <= maxReply && !v.Outcome.WorseThan(scan.OutcomeError) {
			t.Errorf("%q: a detection became %v", raw, v.Outcome)
		}
	})
}
