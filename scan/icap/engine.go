package icap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// Engine is one service of one ICAP server. It keeps connections between scans
// and needs no closing.
type Engine struct {
	uri, address   string
	tls            *tls.Config // nil: plain text
	method         method      // empty: the best that the service offers
	extra          []extraHeader
	sendFileName   bool
	acceptEcho     bool
	maxPreview     int
	maxObjectBytes int64
	connectTimeout time.Duration

	idle    *pool
	proof   *proof
	buffers sync.Pool // of *buffer

	mu    sync.Mutex
	known service
}

var (
	_ scan.Engine = (*Engine)(nil)
	_ scan.Signer = (*Engine)(nil)
)

// Scan sends the object to the service and judges its answer. CLEAN means that
// o.Size bytes, at least one, were sent as a whole message; that the answer was
// status 204, which had been offered, or, with [Config.AcceptEcho], the same
// message with the object unchanged; and that within the last 20 minutes the
// service did not let pass a known-bad file of [Config.MaxObjectBytes].
//
// The only bound in time is ctx. The first scan that is CLEAN waits for that
// known-bad file, and so does one every 10 minutes. Errors are [*scan.Error]:
//   - KindUnreachable: no connection within the connect time-out, or it ended
//     before a complete answer.
//   - KindOverload: status 503 or 429.
//   - KindProtocol: an answer that proves nothing, a failed scan (status 500, or
//     an HTTP 5xx, 400 or 401 in the object's place).
//   - KindRefused: the service is unknown or not for us (status 401, 403, 404 …),
//     or it lets a known-bad file of MaxObjectBytes pass.
//   - KindSpool: the content could not be read whole, unless the reader's own
//     error carries a kind.
//   - KindTimeout, KindCanceled: ctx ended.
//   - KindInternal: an empty object.
func (e *Engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if o.Size <= 0 {
		return scan.Verdict{}, &scan.Error{
			Kind: scan.KindInternal, Op: "scan with the icap server", Err: fmt.Errorf("object of %d bytes", o.Size),
		}
	}
	if ctx.Err() != nil {
		return scan.Verdict{}, ended(ctx)
	}
	if o.Size > e.maxObjectBytes {
		return scan.Verdict{
			Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooLarge,
			Detail: fmt.Sprintf("%d bytes; the largest object given to the icap server has %d", o.Size, e.maxObjectBytes),
		}, nil
	}
	v, err := e.scan(ctx, o)
	if err == nil && v.Outcome == scan.OutcomeClean {
		err = e.proof.hold(ctx, e.scan)
	}
	if err != nil {
		return scan.Verdict{}, err
	}
	return v, nil
}

// scan is Scan without the proof.
func (e *Engine) scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	s, err := e.service(ctx)
	if err != nil {
		return scan.Verdict{}, err
	}
	r, err := e.request(s, o)
	if err != nil {
		return scan.Verdict{}, err
	}
	var ans answer
	err = e.with(ctx, func(c *conn) error {
		ans, err = e.exchange(c, r, o)
		return err
	})
	if err != nil {
		return scan.Verdict{}, err
	}
	e.heed(ans.istag)
	return ans.verdict, nil
}

// exchange sends the object over c and reads the answer.
func (e *Engine) exchange(c *conn, r request, o scan.Object) (answer, error) {
	b := e.buffers.Get().(*buffer)
	defer e.buffers.Put(b)
	u := &upload{to: c, content: o.Content, buffer: b, size: o.Size}
	switch {
	case r.preview < 0:
		return u.exchange(c, r.asked, func() error { return u.first(r.head, o.Size, lastChunk) })
	case r.asked.whole:
		return u.exchange(c, r.asked, func() error { return u.first(r.head, o.Size, wholeInPreview) })
	}
	ans, err := u.exchange(c, r.asked, func() error { return u.first(r.head, int64(r.preview), lastChunk) })
	if err != nil || !ans.goOn {
		return ans, err
	}
	r.asked.preview, r.asked.whole = false, true
	return u.exchange(c, r.asked, u.rest)
}

// exchange reads an answer while it writes: the server may begin to send back
// before it has all, and then waits for us to read.
func (u *upload) exchange(c *conn, a asked, write func() error) (answer, error) {
	sent := make(chan error, 1)
	go func() {
		err := write()
		if _, unreadable := errors.AsType[*scan.Error](err); unreadable {
			_ = c.Close() // a part must never look like the whole
		}
		sent <- err
	}()
	ans, err := readAnswer(c.in, a)
	if err != nil {
		_ = c.Close()
	} else {
		// The write is over, or the server no longer wants to know: what has not
		// left by now is not part of what was judged.
		_ = c.SetWriteDeadline(time.Unix(1, 0))
	}
	sendErr := <-sent
	if scanErr, unreadable := errors.AsType[*scan.Error](sendErr); unreadable {
		return answer{}, scanErr
	}
	if err != nil {
		return answer{}, joined(err, sendErr)
	}
	if sendErr != nil {
		if ans.goOn {
			return answer{}, sendErr
		}
		if ans.clean != "" {
			ans.pass(ans.clean, false)
		}
		c.keep = false
		return ans, nil
	}
	c.keep = ans.keep && !ans.goOn
	return ans, c.SetWriteDeadline(time.Time{})
}

// joined adds what the writing side saw to a failure of the connection.
func joined(err, sendErr error) error {
	if _, ok := errors.AsType[*scan.Error](err); ok || sendErr == nil {
		return err
	}
	return errors.Join(err, sendErr)
}
