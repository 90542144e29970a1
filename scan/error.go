package scan

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Kind classifies what went wrong with the infrastructure. The list is closed.
type Kind uint8

const (
	// KindInternal is a defect of our own, and the kind of any error that is
	// not an [*Error].
	KindInternal Kind = iota
	// KindUnreachable: no connection, or it broke before a complete reply.
	KindUnreachable
	// KindTimeout: the deadline passed before a complete reply.
	KindTimeout
	// KindCanceled: the caller left.
	KindCanceled
	// KindProtocol: a complete reply that proves nothing.
	KindProtocol
	// KindRefused: key, permission, plan or quota; retrying does not help.
	KindRefused
	// KindOverload: busy or out of budget, here or there; later may help.
	KindOverload
	// KindSpool: a body could not be kept or read back whole.
	KindSpool
)

// String returns a short lower-case word.
func (k Kind) String() string {
	switch k {
	case KindInternal:
		return "internal"
	case KindUnreachable:
		return "unreachable"
	case KindTimeout:
		return "timeout"
	case KindCanceled:
		return "canceled"
	case KindProtocol:
		return "protocol"
	case KindRefused:
		return "refused"
	case KindOverload:
		return "overload"
	case KindSpool:
		return "spool"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Cause is the cause an outcome ERROR carries for this kind.
func (k Kind) Cause() Cause {
	switch k {
	case KindUnreachable:
		return CauseEngineUnreachable
	case KindTimeout:
		return CauseEngineTimeout
	case KindProtocol:
		return CauseEngineProtocol
	case KindRefused:
		return CauseEngineRefused
	case KindOverload:
		return CauseOverload
	case KindSpool:
		return CauseSpool
	case KindInternal, KindCanceled:
	}
	return CauseInternal
}

// Error is a failure of the infrastructure, never a statement about content.
type Error struct {
	Kind Kind
	// Op says what was being done, lower case: "connect to clamd".
	Op string
	// Err is what the layer below said; it may hold foreign text.
	Err error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Op + ": " + e.Kind.String()
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first [*Error] in err's tree. Without one, an
// ended context is [KindCanceled] or [KindTimeout], anything else [KindInternal].
func KindOf(err error) Kind {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return KindTimeout
	case errors.Is(err, context.Canceled):
		return KindCanceled
	}
	return KindInternal
}

// ErrorVerdict turns a failure into the verdict that stands for it.
func ErrorVerdict(err error) Verdict {
	return Verdict{Outcome: OutcomeError, Cause: KindOf(err).Cause(), Detail: err.Error()}
}

// PanicText says what a recovered panic was, for logs and errors: a runtime error
// in its own words, of anything else the type alone, since it may quote content.
func PanicText(p any) string {
	if e, ok := p.(runtime.Error); ok {
		return e.Error()
	}
	return fmt.Sprintf("a value of type %T", p)
}
