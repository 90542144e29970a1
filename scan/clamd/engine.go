package clamd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

const defaultConnectTimeout = time.Second

// Config names one daemon.
type Config struct {
	// Address is "unix:/path", "tcp:host:port" or "host:port". clamd knows
	// neither authentication nor encryption: use a unix socket or loopback.
	Address string
	// ConnectTimeout bounds the time until a connection stands; 0 means 1 s.
	ConnectTimeout time.Duration
}

// Engine is one clamd. It keeps no connection between scans: one connection is
// one scan, closed before Scan returns.
type Engine struct {
	network, address string
	connectTimeout   time.Duration
	buffers          sync.Pool // of *buffer
}

var (
	_ scan.Engine = (*Engine)(nil)
	_ scan.Signer = (*Engine)(nil)
)

// New returns the engine for one daemon. It checks the configuration and does
// not connect: a daemon that is down is found by the first scan.
func New(c Config) (*Engine, error) {
	network, address, err := parseAddress(c.Address)
	if err != nil {
		return nil, err
	}
	if c.ConnectTimeout < 0 {
		return nil, fmt.Errorf("clamd %s: connect time-out %v is negative", c.Address, c.ConnectTimeout)
	}
	e := &Engine{network: network, address: address, connectTimeout: c.ConnectTimeout}
	if e.connectTimeout == 0 {
		e.connectTimeout = defaultConnectTimeout
	}
	e.buffers.New = func() any { return new(buffer) }
	return e, nil
}

func parseAddress(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "", "", fmt.Errorf("clamd address %q: no path after the scheme unix", s)
		}
		return "unix", path, nil
	}
	address = strings.TrimPrefix(s, "tcp:")
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return "", "", fmt.Errorf("clamd address %q: want unix:/path or host:port", s)
	}
	return "tcp", address, nil
}

// Scan streams the object to clamd and judges its reply. CLEAN means that
// o.Size bytes, at least one, were framed and written, the end of the stream
// too, and that the reply was "stream: OK" with its terminator and nothing else.
//
// The only bound in time is ctx; clamd itself goes on scanning after a caller
// has left. Errors are [*scan.Error]:
//   - KindUnreachable: no connection within the connect time-out, or it ended
//     before a complete reply (a dying clamd closes without a word).
//   - KindOverload: the unix socket's backlog stayed full.
//   - KindProtocol: a complete reply that is no verdict.
//   - KindRefused: clamd has the command switched off.
//   - KindSpool: the content could not be read whole, unless the reader's own
//     error carries a kind.
//   - KindTimeout, KindCanceled: ctx ended.
//   - KindInternal: an empty object. clamd would answer OK to it (measured, 1.4.6).
func (e *Engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	if o.Size <= 0 {
		return scan.Verdict{}, &scan.Error{
			Kind: scan.KindInternal, Op: "scan with clamd", Err: fmt.Errorf("object of %d bytes", o.Size),
		}
	}
	conn, release, err := e.connect(ctx)
	if err != nil {
		return scan.Verdict{}, err
	}
	defer release()

	b := e.buffers.Get().(*buffer)
	defer e.buffers.Put(b)
	replied := make(chan received, 1)
	// The reader runs from the start: the reply to an object over the limit
	// comes while we still write, and a clamd that waited for us to read it
	// would never finish reading us.
	go func() { replied <- receive(conn, b.reply[:]) }()

	sent, sendErr := b.stream(conn, o)
	if scanErr, ok := errors.AsType[*scan.Error](sendErr); ok {
		_ = conn.Close() // without the zero chunk clamd drops the stream unjudged
		<-replied
		if ctx.Err() != nil {
			return scan.Verdict{}, ended(ctx)
		}
		return scan.Verdict{}, scanErr
	}
	r := <-replied // a write error does not matter before this: the reply may explain it
	v, err := r.verdict()
	switch {
	case err != nil && !r.complete() && ctx.Err() != nil:
		return scan.Verdict{}, ended(ctx)
	case err != nil && sendErr != nil:
		return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(err), Op: "scan with clamd", Err: errors.Join(err, sendErr)}
	case err != nil:
		return scan.Verdict{}, err
	case v.Outcome == scan.OutcomeClean && (sendErr != nil || sent != o.Size):
		return scan.Verdict{}, &scan.Error{
			Kind: scan.KindProtocol, Op: "scan with clamd",
			Err: fmt.Errorf("it said OK after %d of %d bytes", sent, o.Size),
		}
	}
	return v, nil
}
