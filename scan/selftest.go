package scan

import "context"

// SelfTester is an [Engine] that can find out whether its backend is set up so
// that its word is worth something, beyond what canaries show.
type SelfTester interface {
	// SelfTest asks the backend, with objects of up to limit bytes, which is the
	// largest body it will be given. It returns one finding for each probe it
	// could make.
	SelfTest(ctx context.Context, limit int64) []Finding
}

// Finding is what one probe of a [SelfTester] showed.
type Finding struct {
	// Probe names what was tried, in our own words.
	Probe string
	// Grade says whether the engine may be relied on.
	Grade Grade
	// Result is what came back. It may hold foreign text.
	Result string
	// Remedy is what the operator should do; empty when passed.
	Remedy string
}

// Grade rates a [Finding].
type Grade uint8

// The grades. The zero value is a failure.
const (
	GradeFailed   Grade = iota // bodies may be judged wrongly
	GradeDegraded              // it works, and somebody should look at it
	GradePassed
)

// String returns "failed", "degraded" or "passed".
func (g Grade) String() string {
	switch g {
	case GradePassed:
		return "passed"
	case GradeDegraded:
		return "degraded"
	case GradeFailed:
	}
	return "failed"
}
