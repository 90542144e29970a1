package gate

import (
	"sync"

	"github.com/portcullis-av/portcullis/scan"
)

// findings is what is known while a body is being judged. A door that gives up
// waiting reads it: an engine that never returns must not hide what another one,
// or the unwrapping, has found.
type findings struct {
	mu         sync.Mutex
	worst      scan.Verdict // undecided while nothing is known
	unwrapping bool
	answered   map[string]bool // by engine: gave a verdict about some object
}

// unwraps notes that the unwrapping has begun.
func (f *findings) unwraps() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unwrapping = true
}

// unwrapped notes its end and what it proved.
func (f *findings) unwrapped(p *scan.Policy, v scan.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unwrapping = false
	f.add(p, v)
}

// add keeps the verdict that decides; the lock is held.
func (f *findings) add(p *scan.Policy, v scan.Verdict) {
	if f.worst.Outcome != scan.OutcomeUndecided {
		v = p.Worse(f.worst, v)
	}
	f.worst = v
}

// said notes an engine's verdict about one object.
func (f *findings) said(p *scan.Policy, v scan.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(p, v)
	if v.Outcome == scan.OutcomeError {
		return
	}
	if f.answered == nil {
		f.answered = map[string]bool{}
	}
	f.answered[v.Engine] = true
}

// answers reports whether the engine gave a verdict about any object.
func (f *findings) answers(engine string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered[engine]
}

// givenUp is the verdict when nobody waits any longer: the worst that was found,
// or what is to blame.
func (f *findings) givenUp(p *scan.Policy) scan.Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	late := scan.Verdict{
		Outcome: scan.OutcomeError, Cause: scan.CauseEngineTimeout,
		Detail: "an engine did not answer within scan_timeout nor heed its end",
	}
	if f.unwrapping {
		late = slowToUnwrap()
	}
	if f.worst.Outcome == scan.OutcomeUndecided {
		return late
	}
	return p.Worse(late, f.worst)
}

// slowToUnwrap is the verdict when the content made the unwrapping slow. No
// engine did: a client must not be able to turn that into a fail-open pass.
func slowToUnwrap() scan.Verdict {
	return unscannable(scan.CauseScanTimeout, "unwrapping took longer than scan_timeout")
}
