package gate

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Single is one object that somebody asks about by itself: the ScanService and
// the command line.
type Single struct {
	// Policy is its name, "" for the default or what a rule chooses.
	Policy string
	// Name is the file name, if any. Untrusted.
	Name   string
	Labels scan.Labels
	// Explain asks the engines about every object, also when malware was found
	// already, and lists all of them.
	Explain bool
}

// SingleResult is what scanning a [Single] came to.
type SingleResult struct {
	Decision Decision
	Policy   string
	Objects  int   // scanned, the object itself included
	Size     int64 // bytes read; not all of them when too large
	SHA256   [32]byte
	// Whole says that the object was read whole: Size and SHA256 are its own.
	Whole bool
	// Tree is that of the [Judgement].
	Tree Tree
}

// ScanSingle reads content to its end, or to the policy's limit, and judges it
// as a body that the policy covers. The error is that of content only: whatever
// else fails is a verdict.
func (g *Gate) ScanSingle(ctx context.Context, s Single, content io.Reader) (SingleResult, error) {
	headers := func() map[string]string { return nil }
	x := g.Begin(ctx, Head{Attributes: scan.Attributes{Headers: headers}, Labels: s.Labels}, s.Policy)
	defer x.Finish("single")
	x.explain = s.Explain
	r := SingleResult{Policy: x.policy.Name}
	l := &x.legs[scan.Request]
	l.seen, l.begun = true, time.Now()
	l.head = Head{Labels: s.Labels, ContentLength: -1}
	if x.broken != nil {
		r.Decision = x.decide(scan.Request, *x.broken)
		return r, nil
	}
	l.body = x.setup.Store.Open(x.policy.MaxBodyBytes, true)
	x.trace.At(scan.Request, StageHeld)
	v, err := x.fill(l.body, content)
	if err != nil {
		return r, err
	}
	if v.Outcome == scan.OutcomeClean {
		l.judged = x.judgeSingle(ctx, s.Name)
		v, r.Whole = l.judged.Verdict, true
	}
	r.Decision = x.decide(scan.Request, v)
	r.Tree = l.judged.Tree
	r.Objects, r.Size, r.SHA256 = l.judged.Objects, l.body.Size(), l.body.SHA256()
	return r, nil
}

// judgeSingle judges the held object; an engine that does not heed its context is
// given up, and Finish frees what it may still read.
func (x *Exchange) judgeSingle(ctx context.Context, name string) Judgement {
	done := make(chan Judgement, 1)
	x.judge(ctx, scan.Request, name, func(j Judgement) { done <- j })
	limit := time.NewTimer(x.JudgeLimit())
	defer limit.Stop()
	select {
	case j := <-done:
		return j
	case <-limit.C:
		return Judgement{Verdict: x.legs[scan.Request].found.givenUp(x.policy), Took: x.JudgeLimit()}
	}
}

// fill copies content into body. CLEAN means no more than that all of it is held.
func (x *Exchange) fill(body scan.Body, content io.Reader) (scan.Verdict, error) {
	const block = 64 << 10
	buf := make([]byte, block)
	for {
		n, err := content.Read(buf)
		if _, held := body.Write(buf[:n]); held != nil {
			return x.notHeld(held), nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return scan.CleanVerdict(), nil
		case err != nil:
			return scan.Verdict{}, err
		}
	}
}

// notHeld is the verdict for a body that its store did not take.
func (x *Exchange) notHeld(err error) scan.Verdict {
	if errors.Is(err, scan.ErrTooLarge) {
		return tooLarge(x.policy)
	}
	return scan.ErrorVerdict(err)
}
