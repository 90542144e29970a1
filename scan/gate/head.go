package gate

import (
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Head is what a door knows of a leg from its headers. All of it is untrusted.
type Head struct {
	// Attributes of the exchange; on the request leg only.
	scan.Attributes
	// RequestID is the id that client or proxy gave, for the log only.
	RequestID string
	// Accept is the client's Accept header; on the request leg only.
	Accept string
	// GRPC says that the client expects a gRPC answer; on the request leg only.
	GRPC bool
	// Status is the HTTP status; on the response leg only.
	Status int
	// Labels describe the body.
	Labels scan.Labels
	// Header returns the values of a header by its lower-case name, joined with
	// a comma, or "".
	Header func(name string) string
	// ContentLength in bytes, -1 when not declared.
	ContentLength int64
	// Tunnel says that the leg is an Upgrade or CONNECT: no body that ends.
	Tunnel bool
	// Empty says that neither body nor trailers follow.
	Empty bool
}

// Decision is what happens to a leg, and why.
type Decision struct {
	Action scan.Action
	// Covered is false when the policy does not scan this leg; Verdict says
	// nothing then.
	Covered bool
	Verdict scan.Verdict
}

// Plan is what to do with a leg once its headers are known.
type Plan struct {
	// Hold says to keep the body and judge it when it is complete. When false,
	// Decision stands already.
	Hold     bool
	Decision Decision
}

// Record is what is known of an exchange when it ended: the one source of its
// log line, metrics and audit event.
type Record struct {
	ID, RequestID      string
	TraceID            string // of the trace that it is a part of, if any
	Policy             string
	Revision           string // of the policy
	Enforced           bool
	Method, Host, Path string // untrusted
	Start              time.Time
	Duration           time.Duration
	// End says how the exchange ended, in the door's closed vocabulary.
	End  string
	Legs [2]LegRecord
}

// LegRecord is one leg of a [Record].
type LegRecord struct {
	// Seen says that the leg's headers came.
	Seen bool
	// Decided says that Decision holds; a leg that was covered and not decided
	// was cut off, and nothing of it passed.
	Decided  bool
	Decision Decision
	Bytes    int64         // of the wire body that were held
	Objects  int           // scanned, the raw body included
	Tree     Tree          // of a body that is not CLEAN, bounded
	Held     time.Duration // from the headers to the decision
	Judged   time.Duration // of which unwrapping and scanning
}
