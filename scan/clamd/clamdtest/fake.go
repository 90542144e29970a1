package clamdtest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Options are the settings of a fake clamd; the zero value is usable.
type Options struct {
	// Network is "unix" (default) or "tcp".
	Network string
	// StreamMaxLength in bytes; 0 means 100 MiB, the upstream default.
	StreamMaxLength int64
	// MaxFileSize in bytes; 0 means no limit.
	MaxFileSize int64
	// IgnoreLimits is AlertExceedsMax no: what is over MaxFileSize is "OK".
	IgnoreLimits bool
	// IgnoreEncrypted is AlertEncrypted no: encrypted archives are "OK".
	IgnoreEncrypted bool
	// ReadTimeout after which a silent client gets COMMAND READ TIMED OUT; 0
	// means 30 s.
	ReadTimeout time.Duration
	// Version is the reply to VERSION; empty means "ClamAV 1.4.6".
	Version string
	// NoVersion switches the VERSION command off, as clamd 1.5 can.
	NoVersion bool
	// Signatures are added to those for [EICAR] and [Marker].
	Signatures []Signature
}

// Fault is how a fake misbehaves in answer to INSTREAM, each in a way that the
// real daemon, or the network before it, was seen to.
type Fault struct {
	// Hang accepts connections and neither reads nor writes: SIGSTOP.
	Hang bool
	// DieAfter closes the connection without a word once that many bytes of
	// content were read: a killed daemon. 0 means never.
	DieAfter int64
	// DieAtEnd does so after the zero chunk.
	DieAtEnd bool
	// Reset makes every death a connection reset instead of an end of file.
	Reset bool
	// EarlyAfter sends the reply once that many bytes of content were read,
	// and goes on reading unless EarlyStall is set. 0 means never.
	EarlyAfter int64
	// EarlyStall stops reading after the early reply and keeps the connection.
	EarlyStall bool
	// Reply, when not nil, replaces the reply, terminator included.
	Reply []byte
	// Delay is waited before the reply.
	Delay time.Duration
	// Dribble writes replies byte by byte.
	Dribble bool
	// KeepOpen leaves the connection open after the reply until the client
	// closes it.
	KeepOpen bool
}

// Server is a fake clamd.
type Server struct {
	options  Options
	listener net.Listener
	handlers sync.WaitGroup

	mu      sync.Mutex
	fault   Fault
	conns   map[net.Conn]struct{}
	stopped chan struct{}
	scans   int
}

// Start runs a fake clamd until the test ends.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.StreamMaxLength == 0 {
		o.StreamMaxLength = 100 << 20
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 30 * time.Second
	}
	if o.Version == "" {
		o.Version = "ClamAV 1.4.6"
	}
	o.Signatures = append(builtinSignatures(), o.Signatures...)
	s := &Server{
		options: o, listener: listen(tb, o.Network),
		conns: make(map[net.Conn]struct{}), stopped: make(chan struct{}),
	}
	s.handlers.Go(s.accept)
	tb.Cleanup(s.Stop)
	return s
}

func listen(tb testing.TB, network string) net.Listener {
	tb.Helper()
	address := "127.0.0.1:0"
	if network == "" || network == "unix" {
		network, address = "unix", filepath.Join(shortDir(tb), "clamd.sock")
	}
	listener, err := net.Listen(network, address) //nolint:noctx // ends by Close
	if err != nil {
		tb.Fatalf("fake clamd: %v", err)
	}
	return listener
}

// shortDir returns a new directory whose path leaves room for a socket's name:
// a unix socket's path has at most 107 bytes.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pc") //nolint:usetesting // t.TempDir's names are too long
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Address is "unix:/path" or "host:port".
func (s *Server) Address() string {
	a := s.listener.Addr()
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// Set changes how the fake misbehaves from the next connection on; the zero
// [Fault] makes it behave again.
func (s *Server) Set(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Open is the number of connections that are open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Scans is the number of complete streams judged so far.
func (s *Server) Scans() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scans
}

// Stop closes the listener and every connection, and waits until all is quiet.
// From then on connections are refused. Stopping twice is fine.
func (s *Server) Stop() {
	s.mu.Lock()
	select {
	case <-s.stopped:
	default:
		close(s.stopped)
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
		select {
		case <-s.stopped:
			s.mu.Unlock()
			_ = conn.Close()
			return
		default:
		}
		s.conns[conn] = struct{}{}
		fault := s.fault
		s.handlers.Go(func() {
			(&session{server: s, conn: conn, fault: fault}).serve()
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}
