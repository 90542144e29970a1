package icap

import (
	"context"
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

var _ scan.SelfTester = (*Engine)(nil)

// SelfTest tries what the server does not tell: whether it finds a known-bad file
// of limit bytes, and whether it can say of an object that it is clean. It takes as
// long as the server takes for one object of that size.
func (e *Engine) SelfTest(ctx context.Context, limit int64) []scan.Finding {
	return []scan.Finding{e.testLargest(ctx, limit), e.testOffer(ctx)}
}

func (e *Engine) testLargest(ctx context.Context, limit int64) scan.Finding {
	f := scan.Finding{Probe: "EICAR in the largest body is found"}
	if limit > e.maxObjectBytes {
		f.Result = fmt.Sprintf("not tried: max_body_bytes is %d", limit)
		f.Remedy = fmt.Sprintf("lower max_body_bytes: no object of more than max_object_bytes (%d) is given to the server", e.maxObjectBytes)
		return f
	}
	size := max(limit, minObjectBytes)
	v, err := e.scan(ctx, knownBad(size))
	switch {
	case err != nil:
		f.Result, f.Remedy = err.Error(), "see the server's log"
	case v.Outcome == scan.OutcomeInfected:
		f.Grade, f.Result = scan.GradePassed, v.Outcome.String()
	case passed(v):
		f.Result = fmt.Sprintf("the server lets it pass, of %d bytes", size)
		f.Remedy = "raise the server's own limit (c-icap: virus_scan.MaxObjectSize), have it scan archives and every other type, or lower max_object_bytes"
	default: // blocked, and that is what counts
		f.Grade, f.Result = scan.GradeDegraded, v.Outcome.String()+" "+string(v.Cause)
		f.Remedy = "see whether the server can be set up to name what it finds"
	}
	return f
}

func (e *Engine) testOffer(ctx context.Context) scan.Finding {
	f := scan.Finding{Probe: "the server can say of an object that it is clean"}
	s, err := e.options(ctx)
	switch {
	case err != nil:
		f.Result, f.Remedy = err.Error(), "see the server's log"
	case s.allow204:
		f.Grade, f.Result = scan.GradePassed, "it offers status 204"
	case e.acceptEcho:
		f.Grade, f.Result = scan.GradePassed, "it sends the object back"
	default:
		f.Result = "it does not offer status 204"
		f.Remedy = "switch 204 on in the server (c-icap: allow204=on), or set accept_echo"
	}
	return f
}
