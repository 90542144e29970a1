package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Health is what the last probe of an instance found.
type Health struct {
	// OK says that the known-bad object was called infected and the clean one clean.
	OK bool
	// Detail is for the operator; it may hold foreign text.
	Detail string
	// Err is why the instance is not OK; nil before the first probe.
	Err error
	// Signatures the engine worked with, if it can tell.
	Signatures scan.Signatures
	// At is when the probe ended; zero before the first.
	At time.Time
	// Blind is when a probe last found that known-bad objects are called clean;
	// zero for never.
	Blind time.Time
}

// Status is the health of one instance.
type Status struct {
	Label string
	Health
}

// Status returns the health of every instance.
func (f *Fleet) Status() []Status {
	all := make([]Status, len(f.members))
	for i, m := range f.members {
		all[i] = Status{Label: m.Label, Health: *m.health.Load()}
	}
	return all
}

// Healthy reports whether at least one instance passed its last probe.
func (f *Fleet) Healthy() bool {
	for _, m := range f.members {
		if m.health.Load().OK {
			return true
		}
	}
	return false
}

// Probe probes every instance once, at the same time, and returns what it found.
func (f *Fleet) Probe(ctx context.Context) []Status {
	var all sync.WaitGroup
	for _, m := range f.members {
		all.Go(func() { f.probe(ctx, m) })
	}
	all.Wait()
	return f.Status()
}

// probe finds out how an instance is, and notes it unless a later probe has been
// quicker. It takes no slot: a busy engine is no sick engine, and a probe that
// waits behind scans would say so.
func (f *Fleet) probe(ctx context.Context, m *member) {
	began := f.now()
	bounded, cancel := context.WithTimeout(ctx, f.opts.CanaryTimeout)
	defer cancel()
	h, blind := askSafely(bounded, m.Engine)
	if ctx.Err() != nil {
		return // cut short, it says nothing
	}
	h.At = time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.probed > began {
		return
	}
	m.probed = began
	h.Blind = m.health.Load().Blind
	if blind {
		h.Blind = h.At
	}
	m.health.Store(&h)
	now := f.now()
	switch {
	case h.OK:
		m.answered = now
		m.breaker.passed(now)
	case blind:
		m.breaker.trip(h.Err, now)
		m.breaker.blind = true
	}
	f.dispatch(now)
	if !h.OK || m.breaker.open {
		m.probeIn(f.pause(m))
	}
}

// askSafely is askCanary of an engine that may panic: nobody else would recover it.
func askSafely(ctx context.Context, e scan.Engine) (h Health, blind bool) {
	defer func() {
		if p := recover(); p != nil {
			h, blind = sick(&scan.Error{Kind: scan.KindInternal, Op: "probe the engine", Err: errors.New("panic: " + scan.PanicText(p))}), false
		}
	}()
	return askCanary(ctx, e)
}

// askCanary also reports whether the engine is blind: it called the known-bad
// object clean, so that its word on anything is worth nothing.
func askCanary(ctx context.Context, e scan.Engine) (h Health, blind bool) {
	bad, err := e.Scan(ctx, canary(knownBad()))
	switch {
	case err != nil:
		return sick(err), false
	case bad.Outcome != scan.OutcomeInfected:
		err := wrong("the EICAR test file was called " + bad.Outcome.String() + ": the engine has no working signatures")
		return sick(err), bad.Outcome == scan.OutcomeClean
	}
	good, err := e.Scan(ctx, canary(knownClean()))
	switch {
	case err != nil:
		return sick(err), false
	case good.Outcome != scan.OutcomeClean:
		return sick(wrong("a clean text was called " + good.Outcome.String() + " (" + string(good.Cause) + ")")), false
	}
	h = Health{OK: true, Detail: "ok"}
	if s, ok := e.(scan.Signer); ok {
		if h.Signatures, err = s.Signatures(ctx); err != nil {
			h.Detail = "ok, but the signature version is unknown: " + err.Error()
		}
	}
	return h, false
}

func sick(err error) Health { return Health{Detail: err.Error(), Err: err} }

// wrong is a canary's verdict that proves the engine blind or trigger-happy.
func wrong(what string) error {
	return &scan.Error{Kind: scan.KindProtocol, Op: "probe the engine", Err: errors.New(what)}
}

func canary(content []byte) scan.Object {
	return scan.Object{
		Path: "canary", Name: "canary.txt", ContentType: "text/plain",
		Size: int64(len(content)), SHA256: sha256.Sum256(content), Content: bytes.NewReader(content),
	}
}

// knownBad is the EICAR test file, from two halves so that this source file and
// the binary are not taken for it.
func knownBad() []byte {
	return []byte(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD`, `ANTIVIRUS-TEST-FILE!$H+H*`}, "-"))
}

func knownClean() []byte {
	return []byte(strings.Repeat("Portcullis asks whether this text is clean. It is.\n", 20))
}
