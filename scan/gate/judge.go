package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/portcullis-av/portcullis/scan"
)

// parallelObjects bounds how many objects of one body are scanned at once, so
// that one body of many parts cannot take every engine slot.
const parallelObjects = 4

// Judgement is what judging a complete body came to.
type Judgement struct {
	Verdict scan.Verdict
	Objects int           // scanned, the raw body included
	Took    time.Duration // unwrapping and scanning
	// Tree lists the objects: all of them when that was asked for, some of a body
	// that is not CLEAN, none of one that is.
	Tree Tree
}

// scanning is the judging of one body: what it works with and what it found.
type scanning struct {
	policy *scan.Policy
	setup  *Setup
	found  *findings
	// explain asks for every object's verdict and for all of the tree.
	explain bool
}

// judge unwraps and scans a complete body. It never panics.
func (s scanning) judge(ctx context.Context, body scan.Body, name string, labels scan.Labels) (j Judgement) {
	start := time.Now()
	defer func() {
		if r := recover(); r != nil {
			j.Verdict = scan.Verdict{
				Outcome: scan.OutcomeError, Cause: scan.CauseInternal,
				Detail: fmt.Sprintf("panic while judging: %s\n%s", scan.PanicText(r), debug.Stack()),
			}
		}
		j.Took = time.Since(start)
	}()
	if err := body.Seal(); err != nil {
		return Judgement{Verdict: scan.ErrorVerdict(err)}
	}
	if body.Size() == 0 {
		return Judgement{Verdict: scan.Verdict{Outcome: scan.OutcomeClean, Cause: scan.CauseEmpty}}
	}
	ctx, cancel := context.WithTimeout(ctx, s.policy.ScanTimeout)
	defer cancel()

	root := scan.Object{Path: "body", Name: name, Size: body.Size(), Content: body}
	if len(labels.ContentType) == 1 {
		root.ContentType = labels.ContentType[0]
	}
	objects := []scan.Object{root}
	s.found.unwraps()
	limits := s.policy.Content
	limits.Worse = s.policy.Worse
	v, inner := s.setup.Unwrap.Unwrap(ctx, root, labels, limits, func(o scan.Object) {
		objects = append(objects, o)
	})
	defer closeInner(inner)
	if v.Outcome == scan.OutcomeError && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		v = slowToUnwrap()
	}
	s.found.unwrapped(s.policy, v)
	unwrapping := time.Since(start)
	verdicts := s.scanAll(ctx, objects)
	worst := verdicts[0]
	for _, w := range verdicts[1:] {
		worst = s.policy.Worse(worst, w)
	}
	j = Judgement{Verdict: s.blame(s.policy.Worse(worst, v), unwrapping), Objects: len(objects)}
	switch {
	case s.explain:
		j.Tree = treeOf(objects, verdicts, v, len(objects))
	case j.Verdict.Outcome != scan.OutcomeClean:
		j.Tree = treeOf(objects, verdicts, v, maxTree)
	}
	return j
}

// blame tells slow content from an engine that is down. An engine that timed out
// although it answered about other parts of this body, or that was left less
// than half of scan_timeout, has proven nothing against itself, and fail-open is
// for engines that are down.
func (s scanning) blame(v scan.Verdict, unwrapping time.Duration) scan.Verdict {
	if v.Outcome != scan.OutcomeError || v.Cause != scan.CauseEngineTimeout {
		return v
	}
	if unwrapping <= s.policy.ScanTimeout/2 && !s.found.answers(v.Engine) {
		return v
	}
	v.Outcome, v.Cause = scan.OutcomeUnscannable, scan.CauseScanTimeout
	return v
}

func closeInner(c io.Closer) {
	_ = c.Close() // what was unwrapped is ours alone; the verdict stands
}

// scanAll asks the engines about every object and returns their verdicts in that
// order. INFECTED ends the rest early: nothing is worse. What was not scanned for
// it is undecided.
func (s scanning) scanAll(ctx context.Context, objects []scan.Object) []scan.Verdict {
	verdicts := make([]scan.Verdict, len(objects))
	if len(s.policy.Engines) == 0 {
		verdicts[0] = scan.Verdict{
			Outcome: scan.OutcomeError, Cause: scan.CauseInternal,
			Detail: "policy " + s.policy.Name + " has no engine",
		}
		return verdicts
	}
	if len(objects) == 1 {
		verdicts[0] = s.scanOne(ctx, objects[0])
		return verdicts
	}
	var group errgroup.Group
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group.SetLimit(parallelObjects)
	for i, o := range objects {
		group.Go(func() error {
			v := s.scanOne(ctx, o)
			if v.Outcome == scan.OutcomeError && errors.Is(context.Cause(ctx), errInfected) {
				return nil
			}
			verdicts[i] = v
			if v.Outcome == scan.OutcomeInfected && !s.explain {
				cancel(errInfected)
			}
			return nil
		})
	}
	_ = group.Wait() // every failure is a verdict
	return verdicts
}

// errInfected ends the scanning of the other objects of an infected body.
var errInfected = errors.New("malware was found")

// scanOne asks the policy's engines about one object. INFECTED ends the rest
// early.
func (s scanning) scanOne(ctx context.Context, o scan.Object) scan.Verdict {
	names := s.policy.Engines
	switch {
	case len(names) == 1:
		return s.ask(ctx, names[0], o)
	case s.policy.Mode == scan.ModeFirst:
		return s.askInTurn(ctx, names, o)
	}
	verdicts := make([]scan.Verdict, len(names))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() {
			verdicts[i] = s.ask(ctx, name, o)
			if verdicts[i].Outcome == scan.OutcomeInfected {
				cancel()
			}
		})
	}
	group.Wait()
	worst := verdicts[0]
	for _, v := range verdicts[1:] {
		worst = s.policy.Worse(worst, v)
	}
	return worst
}

// askInTurn takes the first answer that is no ERROR.
func (s scanning) askInTurn(ctx context.Context, names []string, o scan.Object) scan.Verdict {
	var first scan.Verdict
	for i, name := range names {
		v := s.ask(ctx, name, o)
		if v.Outcome != scan.OutcomeError {
			return v
		}
		if i == 0 {
			first = v
		}
		if ctx.Err() != nil {
			break
		}
	}
	return first
}

// ask gets one engine's verdict about one object. An engine that says nothing
// in particular has said ERROR, and so has one that panics: in a goroutine of
// its own that would end the process.
func (s scanning) ask(ctx context.Context, name string, o scan.Object) (v scan.Verdict) {
	defer func() {
		if r := recover(); r != nil {
			v = scan.Verdict{
				Outcome: scan.OutcomeError, Cause: scan.CauseInternal, Engine: name, Object: o.Path,
				Detail: fmt.Sprintf("panic while scanning: %s\n%s", scan.PanicText(r), debug.Stack()),
			}
		}
		s.found.said(s.policy, v)
	}()
	engine, ok := s.setup.Engines[name]
	if !ok {
		return scan.Verdict{Outcome: scan.OutcomeError, Cause: scan.CauseInternal, Detail: "there is no engine " + name}
	}
	v, err := engine.Scan(ctx, o)
	switch {
	case err != nil:
		v = scan.ErrorVerdict(err)
	case v.Outcome == scan.OutcomeUndecided:
		v = scan.ErrorVerdict(&scan.Error{Kind: scan.KindProtocol, Op: "read the verdict", Err: errNoOutcome})
	}
	v.Engine, v.Object = name, o.Path
	v.Threats = scan.SafeThreats(v.Threats)
	return v
}

var errNoOutcome = errors.New("the engine returned no outcome")
