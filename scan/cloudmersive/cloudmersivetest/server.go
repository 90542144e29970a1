package cloudmersivetest

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// DefaultKey is the API key a server takes unless told otherwise.
const DefaultKey = "2b7f9c0e-test-key"

// The paths that the server knows.
const (
	BasicPath    = "/virus/scan/file"
	AdvancedPath = "/virus/scan/file/advanced"
)

// Option changes a server that is being made.
type Option func(*Server)

// WithKey sets the API key that is taken.
func WithKey(key string) Option { return func(s *Server) { s.key = key } }

// WithSignature adds a literal byte pattern that is found as name. The name may
// be anything, also what no real service would call a virus.
func WithSignature(name string, pattern []byte) Option {
	return func(s *Server) { s.signatures = append(s.signatures, signature{name, pattern}) }
}

// WithPrefix puts the API below a path, such as "/scanner".
func WithPrefix(prefix string) Option { return func(s *Server) { s.prefix = prefix } }

// WithTLS serves https, and HTTP/2 to those who ask for it, with a certificate
// that is valid until notAfter; one in the past makes it an expired one.
// [Server.CertPEM] is what a client must trust.
func WithTLS(notAfter time.Time) Option {
	return func(s *Server) { s.certificate, s.certPEM = newCertificate(notAfter) }
}

// Forgetful keeps no record of requests, for tests that take long.
func Forgetful() Option { return func(s *Server) { s.forgetful = true } }

// WithListener serves on l, such as one in memory, instead of loopback TCP.
func WithListener(l net.Listener) Option { return func(s *Server) { s.listener = l } }

// Server is a running stand-in. All its methods may be called at any time.
type Server struct {
	key         string
	forgetful   bool
	prefix      string
	signatures  []signature
	listener    net.Listener
	certificate *tls.Certificate
	certPEM     []byte

	http    *http.Server
	closing chan struct{}
	served  chan struct{}
	once    sync.Once
	busy    sync.WaitGroup // connections and handlers

	mu       sync.Mutex
	accepted []string // keys; nil: the one key
	script   []Behaviour
	always   Behaviour
	requests []Request
}

// New starts a server. It panics when loopback cannot be listened on, since no
// test could go on.
func New(options ...Option) *Server {
	s := &Server{
		key:        DefaultKey,
		signatures: []signature{{"EICAR-Test-File", eicar()}},
		closing:    make(chan struct{}),
		served:     make(chan struct{}),
		always:     Answer(),
	}
	for _, o := range options {
		o(s)
	}
	if s.listener == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(fmt.Sprintf("cloudmersivetest: listen on loopback: %v", err))
		}
		s.listener = l
	}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ConnState: s.connState, ErrorLog: silent()}
	go s.run()
	return s
}

func (s *Server) run() {
	defer close(s.served)
	if s.certificate == nil {
		_ = s.http.Serve(s.listener) // ends with Close
		return
	}
	s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*s.certificate}, MinVersion: tls.VersionTLS12}
	_ = s.http.ServeTLS(s.listener, "", "") // ends with Close
}

// Close ends every connection, those that hang too, and returns when none of
// the server's goroutines is left. Later calls do nothing. From then on the
// address refuses connections.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.closing)
		_ = s.http.Close() // the listener's error helps no test
		<-s.served
		s.busy.Wait()
	})
}

// connState counts connections, because net/http lets their goroutines linger
// half a second when a client's body was not read.
func (s *Server) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.busy.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.busy.Done()
	case http.StateActive, http.StateIdle:
	}
}

// URL is the base address: what a client is configured with.
func (s *Server) URL() string {
	scheme := "http"
	if s.certificate != nil {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String() + s.prefix
}

// Key is the API key that the server takes.
func (s *Server) Key() string { return s.key }

// Accept replaces the API keys that are taken.
func (s *Server) Accept(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted = slices.Clone(keys)
}

func (s *Server) takes(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted == nil {
		return key == s.key
	}
	return slices.Contains(s.accepted, key)
}

// CertPEM is the certificate of a server [WithTLS], else nil.
func (s *Server) CertPEM() []byte { return s.certPEM }

// Always makes every request that no script is left for be answered by b.
func (s *Server) Always(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = b
}

// Next has the coming requests answered by these behaviours, one each, after
// those still waiting.
func (s *Server) Next(behaviours ...Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, behaviours...)
}

// Requests returns what came so far, in the order in which it was recorded: when
// its body was read, or given up.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

func (s *Server) record(r Request) {
	if s.forgetful {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.file = file{} // its head would add up over many requests
	s.requests = append(s.requests, r)
}

func (s *Server) next() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.script) == 0 {
		return s.always
	}
	b := s.script[0]
	s.script = s.script[1:]
	return b
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.busy.Add(1) // a hijacked connection is no longer counted
	defer s.busy.Done()
	b := s.next()
	if b.early {
		s.record(describe(r))
		b.act(s, w, r, Request{})
		return
	}
	got := s.receive(r)
	s.record(got)
	b.act(s, w, r, got)
}
