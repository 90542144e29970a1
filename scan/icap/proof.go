package icap

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	// proofFresh is how long a proof is left alone, and proofValid how long it
	// holds; between them one scan at a time renews it.
	proofFresh = 10 * time.Minute
	proofValid = 20 * time.Minute
	// failedFresh is how long a service that failed is not asked again.
	failedFresh = 30 * time.Second
)

// proof is the knowledge that the service finds a known-bad file of the largest
// size that it is given. Servers let pass what is over a limit of their own, by
// 204 or by echo, and never say so (measured, c-icap 0.5.10: over MaxObjectSize).
type proof struct {
	size int64
	turn chan struct{} // who has it asks

	mu   sync.Mutex
	at   time.Time // of the last answer; zero: never
	fail error     // nil: the file was found

	canary scan.Object // made by the first to have the turn
}

func newProof(size int64) *proof { return &proof{size: size, turn: make(chan struct{}, 1)} }

// hold returns nil when the proof holds, asking by scan when it must.
func (p *proof) hold(ctx context.Context, ask func(context.Context, scan.Object) (scan.Verdict, error)) error {
	age, fail := p.state()
	switch {
	case fail != nil && age < failedFresh, fail == nil && age < proofFresh:
		return fail
	case fail == nil && age < proofValid:
		select {
		case p.turn <- struct{}{}:
		default:
			return nil // somebody is at it
		}
	default:
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	defer func() { <-p.turn }()
	if again, fail := p.state(); again < age && (fail == nil || again < failedFresh) {
		return fail // answered while this one waited
	}
	err := p.ask(ctx, ask)
	if err != nil && fail == nil && age < proofValid && scan.KindOf(err) != scan.KindRefused {
		return nil // not answered: the last answer still holds
	}
	return err
}

// state returns how long ago the service was asked, and how it did.
func (p *proof) state() (age time.Duration, fail error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() {
		return 2 * proofValid, nil
	}
	return time.Since(p.at), p.fail
}

// ask sends the known-bad file. Any verdict but CLEAN and a skipped object shows
// that the server would not have let it pass.
func (p *proof) ask(ctx context.Context, ask func(context.Context, scan.Object) (scan.Verdict, error)) error {
	if p.canary.Content == nil {
		p.canary = knownBad(p.size)
	}
	v, err := ask(ctx, p.canary)
	if err != nil {
		return err
	}
	if passed(v) {
		err = &scan.Error{Kind: scan.KindRefused, Op: "prove that the icap server scans", Err: fmt.Errorf(
			"it lets a known-bad file of %d bytes pass: set the largest object given to it (max_object_bytes) to what it scans", p.size)}
	}
	p.mu.Lock()
	p.at, p.fail = time.Now(), err
	p.mu.Unlock()
	return err
}

// passed reports whether the server let the object pass, in a form of CLEAN that
// counts or in one that does not.
func passed(v scan.Verdict) bool {
	return v.Outcome == scan.OutcomeClean || v.Cause == scan.CauseEngineLimit
}
