package clamd

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

// backlogPause is the time between two tries at a unix socket whose backlog is
// full. TCP waits in the kernel; a unix socket says EAGAIN at once.
const backlogPause = 20 * time.Millisecond

// connect returns a connection that closes when ctx ends. release closes it and
// must be called.
func (e *Engine) connect(ctx context.Context) (conn net.Conn, release func(), err error) {
	if ctx.Err() != nil {
		return nil, nil, ended(ctx)
	}
	dialCtx, cancel := context.WithTimeout(ctx, e.connectTimeout)
	defer cancel()
	conn, err = e.dial(dialCtx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, nil, ended(ctx)
	case isOver(ctx):
		return nil, nil, &scan.Error{Kind: scan.KindTimeout, Op: "connect to clamd", Err: context.DeadlineExceeded}
	case errors.Is(err, syscall.EAGAIN), e.network == "unix" && isTimeout(err):
		// A unix socket never lets anyone wait: time ran out for want of CPU.
		return nil, nil, &scan.Error{Kind: scan.KindOverload, Op: "connect to clamd", Err: err}
	default:
		return nil, nil, &scan.Error{Kind: scan.KindUnreachable, Op: "connect to clamd", Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, func() {
		stop()
		_ = conn.Close()
	}, nil
}

// dial says that the backlog was full until the end, not that time ran out: the
// one is overload, which a client can bring about, the other is not.
func (e *Engine) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	var full error
	for {
		conn, err := dialer.DialContext(ctx, e.network, e.address)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			full = err
		case err != nil && full != nil && (ctx.Err() != nil || isTimeout(err)):
			return nil, full
		default:
			return conn, err
		}
		pause := time.NewTimer(backlogPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
		if ctx.Err() != nil {
			return nil, full
		}
	}
}

// isOver reports whether ctx's deadline has passed: a dialer that knows it may say
// so before ctx does.
func isOver(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && !time.Now().Before(end)
}

func isTimeout(err error) bool {
	timed, ok := errors.AsType[net.Error](err)
	return ok && timed.Timeout()
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context) error {
	return &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "scan with clamd", Err: ctx.Err()}
}
