package icaptest

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Options are the settings of a fake ICAP server; the zero value is usable.
type Options struct {
	// TLS makes it an icaps server; [Server.CAFile] signs its certificate.
	TLS bool
	// Methods offered; none means RESPMOD and REQMOD.
	Methods []string
	// Preview is the size asked for; 0 means 1024, negative none.
	Preview int
	// NoAllow204 does not offer 204 outside a preview.
	NoAllow204 bool
	// TTL is the Options-TTL in seconds; 0 means none is sent.
	TTL int
	// Product says how it speaks; empty means [CICAP].
	Product Product
	// Echo answers what is clean by the object itself, even where 204 is allowed.
	Echo bool
	// EchoOver is the size over which clean objects are answered so; 0 means none.
	EchoOver int64
	// ObjectLimit is the size over which objects pass unscanned; 0 means none.
	ObjectLimit int64
	// Skip lets objects that begin so pass with 204 after the preview.
	Skip []byte
	// Forgetful keeps no record of requests, for tests that take long.
	Forgetful bool
}

// Fault is how a fake misbehaves from the next request on.
type Fault struct {
	// Hang accepts connections and neither reads nor writes.
	Hang bool
	// CloseFirst closes the connection instead of reading a request, with a
	// reset if Reset is set.
	CloseFirst, Reset bool
	// DieAfter closes the connection once that many bytes of a body were read.
	// 0 means never.
	DieAfter int64
	// DieAtEnd does so after the whole request.
	DieAtEnd bool
	// Options, when not nil, replaces the answer to OPTIONS, byte for byte.
	Options []byte
	// Reply, when not nil, replaces the final answer, byte for byte.
	Reply []byte
	// CutReply, when positive, closes the connection after that many bytes of
	// the final answer.
	CutReply int
	// Early sends the final answer before it reads the body; then it goes on
	// reading unless EarlyStall is set.
	Early, EarlyStall bool
	// Dribble writes answers byte by byte.
	Dribble bool
	// ContinueAfterIeof sends 100 where nothing is left to send, and
	// ContinueThenClose sends 100 and then closes.
	ContinueAfterIeof, ContinueThenClose bool
	// CloseAfter closes the connection after the answer, without a word.
	CloseAfter bool
	// Spoil changes the body of an echo.
	Spoil func([]byte) []byte
	// CutEcho leaves an echo without its last chunk and closes.
	CutEcho bool
	// ISTag replaces the usual one.
	ISTag string
}

// Request is one request that was read whole, OPTIONS included.
type Request struct {
	Method, URI  string
	Header       map[string][]string // names in lower case
	RequestHead  string              // encapsulated
	ResponseHead string              // encapsulated
	Body         []byte
	// Preview is the announced size, negative if there was none.
	Preview int
	// Conn numbers the connections, from 1.
	Conn int
}

// Server is a fake ICAP server.
type Server struct {
	options  Options
	listener net.Listener
	caFile   string
	handlers sync.WaitGroup

	mu         sync.Mutex
	proxy      string // clients reach it there
	fault      Fault
	conns      map[net.Conn]struct{}
	accepted   int
	stopped    bool
	hangs      chan struct{} // closed by Stop
	requests   []Request
	violations []string
}

// Start runs a fake ICAP server until the test ends. The test fails when a
// client breaks RFC 3507, other than by leaving.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.Product == "" {
		o.Product = CICAP
	}
	if o.Preview == 0 {
		o.Preview = 1024
	}
	if o.Methods == nil {
		o.Methods = []string{"RESPMOD", "REQMOD"}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends by Close
	if err != nil {
		tb.Fatalf("fake icap server: %v", err)
	}
	s := &Server{options: o, conns: map[net.Conn]struct{}{}, hangs: make(chan struct{})}
	if o.TLS {
		var certificate tls.Certificate
		certificate, s.caFile = selfSigned(tb)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	}
	s.listener = listener
	s.handlers.Go(s.accept)
	tb.Cleanup(func() {
		s.Stop()
		for _, v := range s.violations {
			tb.Errorf("the client breaks the protocol: %s", v)
		}
	})
	return s
}

// URL is that of the service.
func (s *Server) URL() string {
	scheme := "icap://"
	if s.options.TLS {
		scheme = "icaps://"
	}
	return scheme + s.listener.Addr().String() + "/scan"
}

// Behind says that clients reach it through a proxy at that host:port, which is
// then its authority.
func (s *Server) Behind(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxy = address
}

// owns reports whether a host is the server's own authority.
func (s *Server) owns(scheme, host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.HasPrefix(s.URL(), scheme+host) || s.proxy != "" && host == s.proxy
}

// CAFile is the certificate of the authority, for a server with TLS.
func (s *Server) CAFile() string { return s.caFile }

// Set changes how the fake misbehaves from the next request on; the zero
// [Fault] makes it behave again.
func (s *Server) Set(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *Server) current() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Requests are those read whole so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Accepted is the number of connections accepted so far, and Open that of those
// which are open now.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Open is the number of connections that are open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Drop closes every connection, and goes on accepting.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Say writes b over every connection, whether or not anybody asked.
func (s *Server) Say(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_, _ = conn.Write(b)
	}
}

// Stop closes the listener and every connection, and waits until all is quiet.
// From then on connections are refused. Stopping twice is fine.
func (s *Server) Stop() {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.hangs)
	}
	_ = s.listener.Close()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.handlers.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		s.mu.Lock()
		if s.stopped {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.conns[conn] = struct{}{}
		s.accepted++
		number := s.accepted
		s.handlers.Go(func() {
			newSession(s, conn, number).serve()
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}

func (s *Server) record(r Request) {
	if s.options.Forgetful {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}

func (s *Server) violation(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, text)
}
