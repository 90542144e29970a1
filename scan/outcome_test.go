package scan_test

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan"
)

// Every pair of outcomes ranks INFECTED > POLICY > UNSCANNABLE > ERROR > CLEAN,
// and what nobody decided ranks as ERROR.
func TestOutcomeOrder(t *testing.T) {
	rank := map[scan.Outcome]int{
		scan.OutcomeClean: 1, scan.OutcomeError: 2, scan.OutcomeUndecided: 2,
		scan.OutcomeUnscannable: 3, scan.OutcomePolicy: 4, scan.OutcomeInfected: 5,
		scan.Outcome(200): 2, // no outcome at all: nobody can have decided it
	}
	for a := range rank {
		for b := range rank {
			if got, want := a.WorseThan(b), rank[a] > rank[b]; got != want {
				t.Errorf("%d (%v) worse than %d (%v): %v, want %v", a, a, b, b, got, want)
			}
		}
	}
}

// An outcome that nobody set reads as ERROR wherever it is shown.
func TestOutcomeWords(t *testing.T) {
	var nobody scan.Outcome
	want := map[scan.Outcome]string{
		nobody: "ERROR", scan.OutcomeClean: "CLEAN", scan.OutcomeError: "ERROR",
		scan.OutcomeUnscannable: "UNSCANNABLE", scan.OutcomePolicy: "POLICY", scan.OutcomeInfected: "INFECTED",
		scan.Outcome(200): "Outcome(200)",
	}
	for o, word := range want {
		if got := o.String(); got != word {
			t.Errorf("outcome %d reads %q, want %q", o, got, word)
		}
	}
}

// Outcomes lists what a decision can carry, mildest first.
func TestOutcomesAreInOrder(t *testing.T) {
	all := scan.Outcomes()
	if len(all) != 5 || all[0] != scan.OutcomeClean {
		t.Fatalf("got %v", all)
	}
	for i := range all[1:] {
		if !all[i+1].WorseThan(all[i]) {
			t.Errorf("%v does not outrank %v", all[i+1], all[i])
		}
	}
}
