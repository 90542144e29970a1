package scan

import "slices"

// Verdict is what is known about one object, or about a whole body.
type Verdict struct {
	Outcome Outcome
	Cause   Cause
	// Threats are the names engines gave, first the most telling. They are
	// foreign text: pass them through [SafeThreat] before they leave the process.
	Threats []string
	// Engine is the configured name of the engine that decided; empty when the
	// gate itself did.
	Engine string
	// Signatures is the engine's signature version, empty when unknown.
	Signatures string
	// Object is the path of the object inside the body that decided, such as
	// "body/gzip/part[2]"; it is made of our own words only.
	Object string
	// Detail is a sentence for the operator's log, ours or the engine's. It is
	// foreign text and never part of an answer to a client.
	Detail string
}

// CleanVerdict is the verdict of an engine that proved an object clean.
func CleanVerdict() Verdict { return Verdict{Outcome: OutcomeClean, Cause: CauseScanned} }

// InfectedVerdict names the malware found.
func InfectedVerdict(threats ...string) Verdict {
	return Verdict{Outcome: OutcomeInfected, Cause: CauseMalware, Threats: threats}
}

// Worst returns the verdict of a and b that decides: the worse outcome, and of
// two equal outcomes the first. An undecided verdict counts as an ERROR.
func Worst(a, b Verdict) Verdict {
	if b.Outcome.WorseThan(a.Outcome) {
		return b
	}
	return a
}

const maxThreat = 128

// SafeThreat returns name if it consists of 1 to 128 characters of
// [A-Za-z0-9._:-], else the fixed name "unnamed-threat", so that what an engine
// says can stand in a header, label, log line or page as it is.
func SafeThreat(name string) string {
	if name == "" || len(name) > maxThreat {
		return unnamedThreat
	}
	for i := range len(name) {
		c := name[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '.' || c == '_' || c == ':' || c == '-'
		if !ok {
			return unnamedThreat
		}
	}
	return name
}

const unnamedThreat = "unnamed-threat"

// SafeThreats returns every name through [SafeThreat], without repeats.
func SafeThreats(names []string) []string {
	var safe []string
	for _, n := range names {
		if s := SafeThreat(n); !slices.Contains(safe, s) {
			safe = append(safe, s)
		}
	}
	return safe
}
