package scan

import (
	"slices"
	"time"
)

// Leg is one direction of an exchange.
type Leg uint8

// The two legs.
const (
	Request Leg = iota
	Response
)

// String returns "request" or "response".
func (l Leg) String() string {
	if l == Response {
		return "response"
	}
	return "request"
}

// Action is what happens to a body.
type Action uint8

// The two actions. The zero value blocks.
const (
	Block Action = iota
	Pass
)

// String returns "block" or "pass".
func (a Action) String() string {
	if a == Pass {
		return "pass"
	}
	return "block"
}

// EngineMode says how the engines of a policy share the work.
type EngineMode uint8

const (
	// ModeAll asks every engine at once; the worst outcome wins.
	ModeAll EngineMode = iota
	// ModeFirst asks the engines in order and takes the first answer that is
	// no ERROR.
	ModeFirst
)

// Policy says what to scan, how, and what to do with the outcome. It is
// immutable; an exchange keeps the one it began with.
type Policy struct {
	Name string
	// Revision tells versions of a policy of the same name apart; opaque.
	Revision string
	Engines  []string // configured engine names, in order
	Mode     EngineMode
	// ScanRequest and ScanResponse say which legs are covered.
	ScanRequest, ScanResponse bool
	// MaxBodyBytes is the largest body held, in bytes of the wire body; larger
	// is UNSCANNABLE(too-large).
	MaxBodyBytes int64
	// Digest says that an engine of the policy, or a cache before it, asks for the
	// SHA-256 of every body, so that it is taken while the body arrives.
	Digest bool
	// ScanTimeout bounds unwrapping and scanning of one complete body.
	ScanTimeout time.Duration
	// UploadTimeout bounds the time from a leg's headers to its end.
	UploadTimeout time.Duration
	// UploadIdleTimeout bounds the time between two pieces of a body; 0 is none.
	UploadIdleTimeout time.Duration
	// UploadMinRate is the least a body must bring on average once it has been
	// arriving for 10 s, in bytes a second; 0 is none.
	UploadMinRate int64
	// FailOpen passes outcome ERROR, and that only.
	FailOpen bool
	// PassUnscannable passes outcome UNSCANNABLE, save for the causes a door
	// must never pass ([CauseUncoveredMode]).
	PassUnscannable bool
	// PassPartial passes ranges and pieces of uploads in which no engine found
	// anything: as UNSCANNABLE, for what is beside them was not seen.
	PassPartial bool
	// PassCauses passes outcomes POLICY and UNSCANNABLE with these causes, save
	// for the causes a door must never pass.
	PassCauses []Cause
	// Enforce false passes everything and reports what would have happened.
	Enforce bool
	// ShowThreats lets block answers name the malware.
	ShowThreats bool
	// Content bounds the unwrapping.
	Content ContentLimits
}

// ContentLimits bounds how far a body is unwrapped. Over a limit is a verdict,
// never a shorter scan.
type ContentLimits struct {
	MaxObjects       int   // objects of one body, the raw body included
	MaxDepth         int   // layers of wrapping around one object
	MaxCodings       int   // stacked content codings
	MaxExpandedBytes int64 // bytes that all layers of one body may expand to
	MaxRatio         int64 // expanded to wrapped bytes, judged after 8 MiB of output
	// LenientMultipart reads a multipart body that breaks the strict grammar in
	// every way any receiver could, instead of refusing it.
	LenientMultipart bool
	// SelfExtracting accepts zip archives with other bytes in front of them.
	SelfExtracting bool
	// Worse decides between two findings about one body, as [Policy.Worse] does;
	// nil stands for [Worst].
	Worse func(a, b Verdict) Verdict
}

// Covers reports whether the leg's bodies are scanned.
func (p *Policy) Covers(l Leg) bool {
	if l == Response {
		return p.ScanResponse
	}
	return p.ScanRequest
}

// ActionFor turns a verdict into what happens to the body. Only CLEAN passes by
// itself; an undecided verdict is an ERROR. Fail-open passes an ERROR of an
// engine or of the spool, never one that a client can provoke.
func (p *Policy) ActionFor(v Verdict) Action {
	pass := !p.Enforce
	switch v.Outcome {
	case OutcomeClean:
		pass = true
	case OutcomeUnscannable:
		pass = pass || p.PassUnscannable && v.Cause != CauseUncoveredMode || p.PassPartial && v.Cause == CausePartialContent || p.passesCause(v.Cause)
	case OutcomeError, OutcomeUndecided:
		pass = pass || p.FailOpen && engineFailed(v.Cause)
	case OutcomePolicy:
		pass = pass || p.passesCause(v.Cause)
	case OutcomeInfected:
	}
	if pass {
		return Pass
	}
	return Block
}

func (p *Policy) passesCause(c Cause) bool {
	return c != CauseUncoveredMode && slices.Contains(p.PassCauses, c)
}

// Worse returns the one of two verdicts about parts of a body that decides about
// the whole: one that blocks before one that passes, so that a part for which a
// switch is open hides no part for which it is closed; else the worse outcome,
// and of equals the first.
func (p *Policy) Worse(a, b Verdict) Verdict {
	if blocks, other := p.ActionFor(a) == Block, p.ActionFor(b) == Block; blocks != other {
		if blocks {
			return a
		}
		return b
	}
	return Worst(a, b)
}

// engineFailed reports whether an ERROR is one that fail-open is for. Overload,
// a rule and a defect of our own are not: a client can provoke them, and must
// not be able to choose that its body passes unscanned.
func engineFailed(c Cause) bool {
	return slices.Contains([]Cause{
		CauseEngineUnreachable, CauseEngineTimeout, CauseEngineProtocol, CauseEngineRefused, CauseSpool,
	}, c)
}

// Attributes of an exchange, as far as they are known when the policy is
// chosen: at the request headers. All of it is untrusted.
type Attributes struct {
	Method, Scheme, Host, Path string
	// Headers are all headers by lower-case name, repeated ones joined with a comma.
	Headers func() map[string]string
}
