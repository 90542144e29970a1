package scan_test

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan"
)

// Over every outcome, cause and switch: CLEAN passes, INFECTED and POLICY pass
// only where nothing is enforced, ERROR obeys fail-open alone, UNSCANNABLE its
// own switch alone, and an uncovered mode no switch at all.
func TestActionFor(t *testing.T) {
	causes := append(scan.Causes(), "")
	outcomes := append(scan.Outcomes(), scan.OutcomeUndecided, scan.Outcome(200))
	for i := range 8 {
		p := scan.Policy{Enforce: i&1 != 0, FailOpen: i&2 != 0, PassUnscannable: i&4 != 0}
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
	return o == scan.OutcomeClean ||
		(o == scan.OutcomeError || o == scan.OutcomeUndecided) && p.FailOpen ||
		o == scan.OutcomeUnscannable && p.PassUnscannable && c != scan.CauseUncoveredMode
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
