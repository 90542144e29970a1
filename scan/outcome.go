package scan

import "fmt"

// Outcome is what is known about a body. The zero value is [OutcomeUndecided], so a
// verdict that nobody filled in can never be taken for clean.
//
// The order of the constants is the order of severity; see [Outcome.WorseThan].
type Outcome uint8

const (
	// OutcomeUndecided means nobody has judged. It is treated as [OutcomeError] everywhere.
	OutcomeUndecided Outcome = iota
	// OutcomeClean means that all bytes were seen and called clean in the exact form
	// the engine's protocol prescribes: a positive proof.
	OutcomeClean
	// OutcomeError means that the infrastructure failed; only this outcome obeys the
	// policy's fail-open switch.
	OutcomeError
	// OutcomeUnscannable means that the content itself could not be judged whole: too
	// large, an unknown coding, malformed, partial.
	OutcomeUnscannable
	// OutcomePolicy is the outcome POLICY: judged, and not allowed by policy.
	OutcomePolicy
	// OutcomeInfected means that malware was named.
	OutcomeInfected
)

// Outcomes lists every outcome that a decision can carry, mildest first.
func Outcomes() []Outcome {
	return []Outcome{OutcomeClean, OutcomeError, OutcomeUnscannable, OutcomePolicy, OutcomeInfected}
}

// String returns the design's word: CLEAN, ERROR, UNSCANNABLE, POLICY or
// INFECTED. [OutcomeUndecided] reads as ERROR, which is how it is treated.
func (o Outcome) String() string {
	switch o {
	case OutcomeClean:
		return "CLEAN"
	case OutcomeUnscannable:
		return "UNSCANNABLE"
	case OutcomePolicy:
		return "POLICY"
	case OutcomeInfected:
		return "INFECTED"
	case OutcomeUndecided, OutcomeError:
		return "ERROR"
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

// WorseThan reports whether o outranks p: INFECTED > POLICY > UNSCANNABLE >
// ERROR > CLEAN. An undecided outcome ranks as ERROR.
func (o Outcome) WorseThan(p Outcome) bool { return o.rank() > p.rank() }

func (o Outcome) rank() Outcome {
	if o == OutcomeUndecided || o > OutcomeInfected {
		return OutcomeError
	}
	return o
}
