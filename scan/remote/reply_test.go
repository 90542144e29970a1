package remote

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// TestEveryCause: each word of the vocabulary is known here as the cause of one
// outcome, so that a new one is not forgotten.
func TestEveryCause(t *testing.T) {
	errors := map[scan.Cause]bool{scan.CauseEngineProtocol: true}
	for _, cause := range scan.Causes() {
		known := 0
		for _, o := range []scan.Outcome{scan.OutcomeInfected, scan.OutcomePolicy, scan.OutcomeUnscannable} {
			if belongs(cause, o) {
				known++
			}
		}
		isClean := cause == scan.CauseScanned || cause == scan.CauseEmpty
		isError := errors[cause] || scan.KindOf(farError(cause, "")) != scan.KindProtocol
		if isClean {
			known++
		}
		if isError {
			known++
		}
		if known != 1 {
			t.Errorf("cause %q is known as that of %d outcomes", cause, known)
		}
	}
}

// TestOutcomeNumbers: an outcome this version does not know is no verdict.
func TestOutcomeNumbers(t *testing.T) {
	o := scan.Object{Size: 1}
	for n := range int32(100) {
		for _, cause := range append(scan.Causes(), "", "new") {
			v, err := judge(&scanv1.ScanResponse{Outcome: scanv1.Outcome(n - 20), Cause: string(cause), Size: 1}, o)
			if v.Outcome == scan.OutcomeClean {
				t.Errorf("outcome %d, cause %q, no digest: CLEAN", n-20, cause)
			}
			if (err == nil) == (v.Outcome == scan.OutcomeUndecided) {
				t.Errorf("outcome %d, cause %q: %+v, %v", n-20, cause, v, err)
			}
		}
	}
}
