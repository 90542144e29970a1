package gate

import (
	"context"

	"github.com/portcullis-av/portcullis/scan"
)

// Tracer follows exchanges while they go on, beside the [Observer] that is told
// in the end.
type Tracer interface {
	// Begin follows an exchange that a door brings in ctx. id is that of the
	// trace which the exchange is a part of, or "".
	Begin(ctx context.Context) (t Trace, id string)
}

// Trace follows one exchange. Its methods are called from the exchange's own
// goroutine, and must not block.
type Trace interface {
	// At says how far a leg has come.
	At(l scan.Leg, s Stage)
	// Judge begins the judging of a leg. The context is for the engines; judged is
	// told what came of it, from another goroutine and maybe after End.
	Judge(ctx context.Context, l scan.Leg) (judging context.Context, judged func(Judgement))
	// End is told what the observer is told.
	End(r *Record)
}

// Stage is a point in the life of a leg.
type Stage uint8

const (
	// StageHeld is where a leg's body begins to be held.
	StageHeld Stage = iota
	// StageReleased is where the door has handed on all of a held body.
	StageReleased
)

// untraced follows nothing, and costs nothing.
type untraced struct{}

var (
	_ Tracer = untraced{}
	_ Trace  = untraced{}
)

func (untraced) Begin(context.Context) (t Trace, id string) { return untraced{}, "" }

func (untraced) At(scan.Leg, Stage) {}

func (untraced) Judge(ctx context.Context, _ scan.Leg) (judging context.Context, judged func(Judgement)) {
	return ctx, untold
}

func (untraced) End(*Record) {}

func untold(Judgement) {}
