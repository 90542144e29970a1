package cloudmersive

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// opScan begins every error of a scan.
const opScan = "scan with cloudmersive"

// Engine asks the Cloudmersive service. It is safe for concurrent use.
type Engine struct {
	endpoint  string
	key       *apiKey
	advanced  bool
	options   http.Header // sent with every scan; never changed
	fileName  *string
	timeout   time.Duration
	retry     bool
	transport http.RoundTripper
}

var _ scan.Engine = (*Engine)(nil)

// Scan posts the object and judges the reply.
//
// CLEAN means: status 2xx, a complete JSON object of at most 64 KiB whose
// CleanResult is true and which names no virus, received after every byte of
// the object was sent. Status 413 is UNSCANNABLE. A failure is an error of
//   - KindUnreachable: no connection, it broke, or status 502;
//   - KindTimeout: [Config.Timeout], the deadline of ctx, or status 408 or 504;
//   - KindCanceled: ctx was cancelled;
//   - KindRefused: status 401, 402 or 403, which the service uses for a wrong
//     key and for a spent quota alike;
//   - KindOverload: status 429 or 503;
//   - KindSpool: the object could not be read whole;
//   - KindProtocol: any other reply, redirects included;
//   - KindInternal: an object of 0 bytes.
//
// The object's content is not touched after Scan has returned. No error holds
// the API key or what the service wrote into an error page.
func (e *Engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if o.Size <= 0 {
		return scan.Verdict{}, &scan.Error{Kind: scan.KindInternal, Op: opScan, Err: errors.New("the object is empty")}
	}
	first := e.attempt(ctx, o)
	if !e.retry || !first.again {
		return first.verdict, first.err
	}
	delay, ok := retryDelay(ctx, first)
	if !ok {
		return first.verdict, first.err
	}
	if err := wait(ctx, delay); err != nil {
		return scan.Verdict{}, err
	}
	second := e.attempt(ctx, o)
	return second.verdict, second.err
}

// Close gives idle connections back. Scans under way are not disturbed.
func (e *Engine) Close() error {
	if t, ok := e.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}

// sentName is what the service is told the object is called, fit for a header.
func (e *Engine) sentName(o scan.Object) string {
	if e.fileName != nil {
		return safeFileName(*e.fileName)
	}
	return safeFileName(o.Name)
}
