package scan_test

import (
	"slices"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
)

// Over every outcome, cause and switch: CLEAN passes, INFECTED and POLICY pass
// only where nothing is enforced, ERROR of an engine or the spool obeys fail-open
// alone, UNSCANNABLE its own switch and that for pieces, and an uncovered mode no
// switch at all.
func TestActionFor(t *testing.T) {
	causes := append(scan.Causes(), "")
	outcomes := append(scan.Outcomes(), scan.OutcomeUndecided, scan.Outcome(200))
	for i := range 16 {
		p := scan.Policy{Enforce: i&1 != 0, FailOpen: i&2 != 0, PassUnscannable: i&4 != 0, PassPartial: i&8 != 0}
		for _, o := range outcomes {
			for _, c := range causes {
				want := scan.Block
				if mayPass(p, o, c) {
					want = scan.Pass
				}
				if got := p.ActionFor(scan.Verdict{Outcome: o, Cause: c}); got != want {
					t.Errorf("enforce %v, fail-open %v, pass unscannable %v: %v (%s) is %v, want %v",
						p.Enforce, p.FailOpen, p.PassUnscannable, o, c, got, want)
				}
			}
		}
	}
}

func mayPass(p scan.Policy, o scan.Outcome, c scan.Cause) bool {
	if !p.Enforce {
		return true
	}
	switch o {
	case scan.OutcomeClean:
		return true
	case scan.OutcomeError, scan.OutcomeUndecided:
		// What a client can provoke (overload, a rule, a defect) is not among them.
		return p.FailOpen && slices.Contains([]scan.Cause{
			"engine-unreachable", "engine-timeout", "engine-protocol", "engine-refused", "spool",
		}, c)
	case scan.OutcomeUnscannable:
		return p.PassUnscannable && c != scan.CauseUncoveredMode || p.PassPartial && c == scan.CausePartialContent
	}
	return false
}

// Causes that a policy passes do so as POLICY and UNSCANNABLE, never as ERROR or
// INFECTED, and never for a body that Envoy does not deliver.
func TestPassCauses(t *testing.T) {
	p := scan.Policy{Enforce: true, PassCauses: scan.Causes()}
	for _, o := range append(scan.Outcomes(), scan.OutcomeUndecided) {
		for _, c := range scan.Causes() {
			want := scan.Block
			judged := o == scan.OutcomePolicy || o == scan.OutcomeUnscannable
			if o == scan.OutcomeClean || judged && c != scan.CauseUncoveredMode {
				want = scan.Pass
			}
			if got := p.ActionFor(scan.Verdict{Outcome: o, Cause: c}); got != want {
				t.Errorf("%v (%s) is %v, want %v", o, c, got, want)
			}
		}
	}
	p.PassCauses = []scan.Cause{scan.CauseEncrypted}
	locked := scan.Verdict{Outcome: scan.OutcomePolicy, Cause: scan.CauseEncrypted}
	odd := scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseMalformedBody}
	if p.ActionFor(locked) != scan.Pass || p.ActionFor(odd) != scan.Block || p.Worse(locked, odd).Cause != odd.Cause {
		t.Error("one cause that passes opens more than itself")
	}
}

// A policy that nobody filled in passes only because it enforces nothing; the
// action that nobody set blocks.
func TestZeroValuesBlock(t *testing.T) {
	var a scan.Action
	if a != scan.Block || a.String() != "block" || scan.Pass.String() != "pass" {
		t.Errorf("the zero action is %v", a)
	}
	p := scan.Policy{Enforce: true}
	if got := p.ActionFor(scan.Verdict{}); got != scan.Block {
		t.Errorf("nobody's verdict: %v", got)
	}
}

// Each leg has its own switch.
func TestCovers(t *testing.T) {
	for _, c := range []struct{ request, response bool }{{true, false}, {false, true}, {true, true}, {}} {
		p := scan.Policy{ScanRequest: c.request, ScanResponse: c.response}
		if p.Covers(scan.Request) != c.request || p.Covers(scan.Response) != c.response {
			t.Errorf("%+v covers %v %v", c, p.Covers(scan.Request), p.Covers(scan.Response))
		}
	}
	if scan.Request.String() != "request" || scan.Response.String() != "response" {
		t.Error("the legs have other names")
	}
}

// A switch that is open for one part of a body hides no part for which it is
// closed: an engine that is down blocks although the body is unscannable too.
func TestWorse(t *testing.T) {
	clean, infected := scan.CleanVerdict(), scan.InfectedVerdict("Eicar")
	down := scan.Verdict{Outcome: scan.OutcomeError, Cause: scan.CauseEngineUnreachable}
	busy := scan.Verdict{Outcome: scan.OutcomeError, Cause: scan.CauseOverload}
	odd := scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseMalformedBody}
	for _, c := range []struct {
		policy     scan.Policy
		a, b, want scan.Verdict
	}{
		{scan.Policy{Enforce: true, PassUnscannable: true}, odd, down, down},
		{scan.Policy{Enforce: true, PassUnscannable: true}, odd, clean, odd},
		{scan.Policy{Enforce: true, FailOpen: true}, down, odd, odd},
		{scan.Policy{Enforce: true, FailOpen: true}, down, busy, busy},
		{scan.Policy{Enforce: true, FailOpen: true}, down, clean, down},
		{scan.Policy{Enforce: true}, down, odd, odd},
		{scan.Policy{Enforce: true, FailOpen: true, PassUnscannable: true}, odd, infected, infected},
		{scan.Policy{}, down, infected, infected},
	} {
		for _, pair := range [][2]scan.Verdict{{c.a, c.b}, {c.b, c.a}} {
			if got := c.policy.Worse(pair[0], pair[1]); got.Cause != c.want.Cause {
				t.Errorf("%+v: %s and %s: %s decides, want %s", c.policy, pair[0].Cause, pair[1].Cause, got.Cause, c.want.Cause)
			}
		}
	}
}
