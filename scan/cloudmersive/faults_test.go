package cloudmersive

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// faults are the ways in which a service, or what stands before it, fails to
// prove anything. A kind of 0 stands for UNSCANNABLE.
func faults() map[string]struct {
	b    cloudmersivetest.Behaviour
	kind scan.Kind
} {
	type fault = struct {
		b    cloudmersivetest.Behaviour
		kind scan.Kind
	}
	all := map[string]fault{
		"413 after the upload":       {cloudmersivetest.Status(413), 0},
		"413 before the upload":      {cloudmersivetest.EarlyStatus(413), 0},
		"413 and closed":             {cloudmersivetest.EarlyRaw("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"), 0},
		"401 before the upload":      {cloudmersivetest.EarlyStatus(401), scan.KindRefused},
		"429, Retry-After seconds":   {cloudmersivetest.StatusRetryAfter(429, "3600"), scan.KindOverload},
		"429, Retry-After date":      {cloudmersivetest.StatusRetryAfter(429, "Sat, 01 Jan 2050 00:00:00 GMT"), scan.KindOverload},
		"empty":                      {cloudmersivetest.JSON(""), scan.KindProtocol},
		"HTML":                       {cloudmersivetest.Reply("text/html", "<html>Log in to the hotel network</html>"), scan.KindProtocol},
		"XML":                        {cloudmersivetest.Reply("application/xml", "<R><CleanResult>true</CleanResult></R>"), scan.KindProtocol},
		"empty object":               {cloudmersivetest.JSON("{}"), scan.KindProtocol},
		"null":                       {cloudmersivetest.JSON("null"), scan.KindProtocol},
		"CleanResult null":           {cloudmersivetest.JSON(`{"CleanResult":null}`), scan.KindProtocol},
		"CleanResult a string":       {cloudmersivetest.JSON(`{"CleanResult":"true"}`), scan.KindProtocol},
		"cut JSON, proper end":       {cloudmersivetest.JSON(`{"CleanResult":true,"FoundVir`), scan.KindProtocol},
		"cut JSON, early end":        {cloudmersivetest.Truncated(cleanJSON, 20), scan.KindUnreachable},
		"whole JSON, early end":      {cloudmersivetest.Truncated(cleanJSON+"    ", len(cleanJSON)), scan.KindUnreachable},
		"100 MB":                     {cloudmersivetest.Huge(100 << 20), scan.KindProtocol},
		"reset":                      {cloudmersivetest.Reset(), scan.KindUnreachable},
		"reset before the upload":    {cloudmersivetest.EarlyReset(), scan.KindUnreachable},
		"clean before the upload":    {cloudmersivetest.EarlyReply("application/json", cleanJSON), scan.KindProtocol},
		"no HTTP":                    {cloudmersivetest.Raw("220 mail ready\r\n"), scan.KindProtocol},
		"request sent back":          {cloudmersivetest.Raw("HTTP/1.1 200 OK\r\nApikey " + cloudmersivetest.DefaultKey + "\r\n\r\n"), scan.KindProtocol},
		"endless header":             {cloudmersivetest.Raw("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 1<<20)), scan.KindProtocol},
		"redirect, Location garbage": {cloudmersivetest.Redirect(302, "http://%zz"), scan.KindProtocol},
		"204":                        {cloudmersivetest.Status(204), scan.KindProtocol},
	}
	for status, kind := range map[int]scan.Kind{
		301: scan.KindProtocol, 400: scan.KindProtocol, 401: scan.KindRefused, 402: scan.KindRefused, 403: scan.KindRefused,
		404: scan.KindProtocol, 429: scan.KindOverload, 500: scan.KindProtocol, 502: scan.KindUnreachable, 503: scan.KindOverload,
		504: scan.KindTimeout,
	} {
		all[strconv.Itoa(status)] = fault{cloudmersivetest.Status(status), kind}
	}
	return all
}

// F-17: no fault makes an infected object CLEAN, every one is reported as what
// it is, and no error says what the key is.
func TestFaultsAreNeverClean(t *testing.T) {
	for name, f := range faults() {
		size := 64 << 10
		if strings.Contains(name, "before the upload") || strings.Contains(name, "and closed") {
			size = 8 << 20 // more than socket buffers take
		}
		o := scantest.Object(append(scantest.EICAR(), scantest.Text(size, 1)...))
		for _, retry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/retry=%v", name, retry), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.Always(f.b)
				e := newEngine(t, Config{URL: s.URL(), Retry: retry, Timeout: 20 * time.Second})
				wantFault(t, e, o, f.kind)
			})
		}
	}
}

func wantFault(t *testing.T, e *Engine, o scan.Object, kind scan.Kind) {
	t.Helper()
	v, err := e.Scan(t.Context(), o)
	if kind == 0 {
		if err != nil || v.Outcome != scan.OutcomeUnscannable || v.Cause != scan.CauseTooLarge {
			t.Errorf("%+v, %v; want UNSCANNABLE too-large", v, err)
		}
		return
	}
	if v.Outcome != scan.OutcomeUndecided {
		t.Errorf("verdict %+v, want none", v)
	}
	wantKind(t, err, kind)
	if err != nil && strings.Contains(err.Error(), cloudmersivetest.DefaultKey) {
		t.Errorf("the error holds the key: %v", err)
	}
}

func TestNameThatDoesNotResolve(t *testing.T) {
	// RFC 6761 section 6.4: such names never resolve.
	e := newEngine(t, Config{URL: "http://portcullis.invalid", Timeout: 20 * time.Second})
	wantFault(t, e, scantest.Object(scantest.EICAR()), scan.KindUnreachable)
}

func TestTLS(t *testing.T) {
	for name, c := range map[string]struct {
		notAfter time.Time
		trusted  bool
		ok       bool
	}{
		"valid":     {time.Now().Add(time.Hour), true, true},
		"expired":   {time.Now().Add(-time.Hour), true, false},
		"untrusted": {time.Now().Add(time.Hour), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, cloudmersivetest.WithTLS(c.notAfter))
			config := Config{URL: s.URL()}
			if c.trusted {
				config.CAFile = filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(config.CAFile, s.CertPEM(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e := newEngine(t, config)
			if !c.ok {
				wantFault(t, e, scantest.Object(scantest.EICAR()), scan.KindUnreachable)
				if got := s.Requests(); len(got) > 0 {
					t.Errorf("%d requests arrived", len(got))
				}
				return
			}
			o := scantest.Object(append(scantest.EICAR(), scantest.Text(1<<20, 1)...))
			if v, err := e.Scan(t.Context(), o); err != nil || v.Outcome != scan.OutcomeInfected {
				t.Errorf("%+v, %v", v, err)
			}
			if got := s.Requests()[0]; got.Proto != "HTTP/2.0" || got.SHA256 != o.SHA256 || got.Key != s.Key() {
				t.Errorf("got %s, %d bytes", got.Proto, got.Size)
			}
		})
	}
}

// A redirect takes neither the key nor the object to another host, or anywhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		other, s := newServer(t), newServer(t)
		s.Always(cloudmersivetest.Redirect(code, other.URL()+cloudmersivetest.BasicPath))
		e := newEngine(t, Config{URL: s.URL(), Retry: true})
		wantFault(t, e, scantest.Object(scantest.EICAR()), scan.KindProtocol)
		if got := other.Requests(); len(got) > 0 {
			t.Errorf("%d: followed, key sent: %v, %d bytes", code, got[0].HasKey, got[0].Size)
		}
		if n := len(s.Requests()); n != 1 {
			t.Errorf("%d: %d requests", code, n)
		}
	}
}

// A clean reply that comes at one byte a second is given up at the time-out, and
// one that never comes too. Time and network are inside the bubble.
func TestSlowService(t *testing.T) {
	key := keyFile(t, cloudmersivetest.DefaultKey)
	for name, b := range map[string]cloudmersivetest.Behaviour{
		"drip": cloudmersivetest.Drip(time.Second, cleanJSON),
		"hang": cloudmersivetest.Hang(),
	} {
		for size, o := range map[string]scan.Object{
			"small": scantest.Object(scantest.EICAR()), "large": scantest.Object(scantest.Text(1<<20, 1)),
		} {
			t.Run(name+" "+size, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					net := newPipeNet()
					s := newServer(t, cloudmersivetest.WithListener(net))
					s.Always(b)
					e := newEngine(t, Config{URL: "http://fake", APIKeyFile: key, Retry: true, Timeout: 30 * time.Second})
					net.carry(t, e)
					began := time.Now()
					_, err := e.Scan(t.Context(), o)
					wantKind(t, err, scan.KindTimeout)
					if took := time.Since(began); took != 30*time.Second {
						t.Errorf("gave up after %v, want the time-out", took)
					}

					ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
					defer cancel()
					began = time.Now()
					_, err = e.Scan(ctx, o)
					wantKind(t, err, scan.KindTimeout)
					if took := time.Since(began); took != 7*time.Second {
						t.Errorf("gave up after %v, want the deadline", took)
					}
				})
			})
		}
	}
}

// The same drip is a verdict when there is time for it.
func TestSlowServiceInTime(t *testing.T) {
	key := keyFile(t, cloudmersivetest.DefaultKey)
	synctest.Test(t, func(t *testing.T) {
		net := newPipeNet()
		s := newServer(t, cloudmersivetest.WithListener(net))
		s.Always(cloudmersivetest.Drip(time.Second, cleanJSON))
		e := newEngine(t, Config{URL: "http://fake", APIKeyFile: key, Timeout: time.Minute})
		net.carry(t, e)
		if v, err := e.Scan(t.Context(), scantest.Object([]byte("x"))); err != nil || v.Outcome != scan.OutcomeClean {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// A reply is not lost when the connection breaks under the upload right behind
// it: a body over the service's limit would look like a broken connection.
func TestReplyBeforeBreak(t *testing.T) {
	s := newServer(t)
	s.Always(cloudmersivetest.EarlyRaw("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
	e := newEngine(t, Config{URL: s.URL()})
	o := scantest.Object(scantest.Text(8<<20, 1))
	for range 20 {
		wantFault(t, e, o, 0)
	}
}

// A kept-alive connection that the server closed at the wrong moment costs one
// more connection, not the scan.
func TestStaleConnection(t *testing.T) {
	for _, retry := range []bool{true, false} {
		s := newServer(t)
		s.Next(cloudmersivetest.Answer(), cloudmersivetest.Reset())
		e := newEngine(t, Config{URL: s.URL(), Retry: retry})
		o := scantest.Object(scantest.EICAR())
		if _, err := e.Scan(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		v, err := e.Scan(t.Context(), o)
		if retry && (err != nil || v.Outcome != scan.OutcomeInfected) {
			t.Errorf("%+v, %v", v, err)
		}
		if !retry {
			wantKind(t, err, scan.KindUnreachable)
		}
	}
}

// pipeNet is a network in memory, so that a bubble's clock governs it.
type pipeNet struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeNet() *pipeNet {
	return &pipeNet{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipeNet) Addr() net.Addr { return &net.UnixAddr{Name: "fake", Net: "pipe"} }

// carry has the engine's own transport connect through the pipe.
func (p *pipeNet) carry(t *testing.T, e *Engine) {
	t.Helper()
	dialPipe(t, e, func(ctx context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case p.conns <- server:
			return client, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}
