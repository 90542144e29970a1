package cloudmersive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"github.com/portcullis-av/portcullis/scan"
)

// result is how one attempt ended.
type result struct {
	verdict scan.Verdict
	err     error
	// again says that a second attempt may end better, retryAfter what the
	// service said about when (the header's value, or "").
	again      bool
	retryAfter string
}

func failed(kind scan.Kind, err error) result {
	return result{err: &scan.Error{Kind: kind, Op: opScan, Err: err}}
}

// attempt is one POST. When it returns, nothing reads the object any more.
func (e *Engine) attempt(ctx context.Context, o scan.Object) result {
	attemptCtx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	name, partName := "", e.sentName(o)
	if e.advanced {
		// The header overrides the part's name, which the SDK leaves out then.
		name, partName = partName, ""
	}
	up, err := newUpload(o, partName)
	if err != nil {
		return result{err: err}
	}
	defer up.close()

	key := e.key.current()
	seen := &connTrace{}
	req, err := e.request(seen.watch(attemptCtx), up, name, key)
	if err != nil {
		return failed(scan.KindInternal, withoutKey(err, key))
	}
	resp, err := e.transport.RoundTrip(req)
	if err != nil {
		return broken(ctx, attemptCtx, up, seen, withoutKey(err, key))
	}
	defer func() { _ = resp.Body.Close() }()

	var body []byte
	if isSuccess(resp.StatusCode) {
		// Only these are read: an error page proves nothing and is never shown.
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
		if err != nil {
			return broken(ctx, attemptCtx, up, seen, withoutKey(err, key))
		}
	}
	return e.replied(up, resp, body)
}

// request spells header names as the service documents them; HTTP/1.1 sends
// them so, HTTP/2 in lower case.
func (e *Engine) request(ctx context.Context, up *upload, name, key string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.endpoint, up.open())
	if err != nil {
		return nil, err
	}
	req.ContentLength = up.size()
	req.GetBody = func() (io.ReadCloser, error) { return up.open(), nil }
	maps.Copy(req.Header, e.options)
	if name != "" {
		req.Header["fileName"] = []string{name}
	}
	req.Header.Set("Apikey", key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", up.contentType)
	req.Header.Set("User-Agent", "portcullis")
	return req, nil
}

// replied judges a complete reply.
func (e *Engine) replied(up *upload, resp *http.Response, body []byte) result {
	if err := up.err(); err != nil {
		return result{err: err}
	}
	verdict, err := judge(resp.StatusCode, resp.Header, body, e.options)
	switch {
	case err == nil && verdict.Outcome == scan.OutcomeClean && !up.complete():
		// All bytes are sent before a server that reads them all can answer.
		return failed(scan.KindProtocol, errors.New("called clean before all of the object was sent"))
	case err == nil:
		return result{verdict: verdict}
	case scan.KindOf(err) == scan.KindRefused:
		if problem := e.key.refused(); problem != nil {
			err = &scan.Error{Kind: scan.KindRefused, Op: opScan, Err: fmt.Errorf("status %d; %w", resp.StatusCode, problem)}
		}
	}
	return result{err: err, again: mayRetry(resp.StatusCode), retryAfter: resp.Header.Get("Retry-After")}
}

// broken says why there is no complete reply. An object that cannot be read and
// an ended context explain the transport's error, not the other way round.
func broken(ctx, attemptCtx context.Context, up *upload, seen *connTrace, err error) result {
	if spool := up.err(); spool != nil {
		return result{err: spool}
	}
	if ctx.Err() != nil {
		return result{err: contextError(ctx)}
	}
	if attemptCtx.Err() != nil {
		return failed(scan.KindTimeout, errors.New("no complete reply within the time-out"))
	}
	if isDialError(err) || seen.wasStale() {
		r := failed(scan.KindUnreachable, err)
		r.again = true
		return r
	}
	var netErr net.Error
	switch {
	case errors.As(err, &netErr) && netErr.Timeout():
		return failed(scan.KindTimeout, err)
	case seen.replied.Load() && !isNetworkError(err):
		return failed(scan.KindProtocol, err)
	}
	return failed(scan.KindUnreachable, err)
}

func contextError(ctx context.Context) error {
	kind := scan.KindCanceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = scan.KindTimeout
	}
	return &scan.Error{Kind: kind, Op: opScan, Err: ctx.Err()}
}

// isDialError reports whether no connection came about, so that the service
// cannot have seen the object.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

func isNetworkError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// connTrace notes what happened on the connection. The transport may still call
// it after the attempt.
type connTrace struct{ idle, replied atomic.Bool }

func (t *connTrace) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { t.idle.Store(info.Reused && info.WasIdle) },
		GotFirstResponseByte: func() { t.replied.Store(true) },
	})
}

// wasStale reports whether the connection came from the pool and broke without
// a byte of reply: most likely the server had closed it already.
func (t *connTrace) wasStale() bool { return t.idle.Load() && !t.replied.Load() }

// withoutKey hides the key in an error that quotes it, as the transport's
// errors may when a server sends our own request back.
func withoutKey(err error, key string) error {
	text := err.Error()
	if !strings.Contains(text, key) {
		return err
	}
	return &keylessError{text: strings.ReplaceAll(text, key, "[api key]"), err: err}
}

// keylessError keeps what the error is and replaces what it says.
type keylessError struct {
	text string
	err  error
}

func (e *keylessError) Error() string { return e.text }

// Is answers for the hidden error; there is no Unwrap, which would hand it out
// to be printed.
func (e *keylessError) Is(target error) bool { return errors.Is(e.err, target) }
