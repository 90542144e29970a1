package origin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/tap"
)

// IDHeader names the exchange; requests without it are answered and not recorded.
const IDHeader = "X-E2e-Id"

// AtOnce as a ResetAt breaks the connection instead of answering.
const AtOnce = -1

// Chunked as a Length leaves the length undeclared.
const Chunked = -1

// Answer says how an exchange is answered. The zero value reads the request and
// answers 200 without a body.
type Answer struct {
	Status  int // 0 means 200
	Header  http.Header
	Body    payload.Body
	Length  int64       // Chunked, or anything else for Content-Length: Body.Size()
	Trailer http.Header // needs Chunked on HTTP/1.1
	// Early answers before the request body was read.
	Early bool
	// Gate, if set, is awaited before anything is answered, and GateAt before the
	// byte of the body with that number; both end with the exchange.
	Gate   <-chan struct{}
	GateAt int64
	// ResetAt breaks the connection after so many bytes of the body; 0: never,
	// [AtOnce]: before there is any answer.
	ResetAt int64
	// Hints sends an informational 103 first.
	Hints bool
}

// Seen is what reached the origin of one exchange.
type Seen struct {
	Method, Path, Host, Proto string
	Header                    http.Header
	ContentLength             int64 // -1 if undeclared
	Bytes                     int64 // of the body
	SHA256                    [sha256.Size]byte
	Trailer                   http.Header
	HeadersAt, FirstByteAt    time.Time // FirstByteAt of the body; zero if none came
	EndAt                     time.Time
	Err                       error // of reading the body
	Times                     int   // how often this id arrived
}

// Origin is a server for HTTP/1.1 and cleartext HTTP/2 on a loopback address.
type Origin struct {
	server *http.Server
	addr   string
	tap    *tap.Tap
	ended  chan struct{}

	mu      sync.Mutex
	answers map[string]Answer
	seen    map[string]*Seen
	arrived map[string]chan struct{} // closed at the headers
	done    map[string]chan struct{} // closed once the body was read
}

// Start returns a listening origin; the caller closes it.
func Start() (*Origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not block
	if err != nil {
		return nil, err
	}
	o := &Origin{
		addr:    l.Addr().String(),
		tap:     tap.New(),
		ended:   make(chan struct{}),
		answers: map[string]Answer{},
		seen:    map[string]*Seen{},
		arrived: map[string]chan struct{}{},
		done:    map[string]chan struct{}{},
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	o.server = &http.Server{Handler: o, Protocols: protocols, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(o.ended)
		_ = o.server.Serve(o.tap.Listener(l)) // ends by Close only
	}()
	return o, nil
}

// Address is the host:port it listens on.
func (o *Origin) Address() string { return o.addr }

// Tap hears every byte that reaches the origin.
func (o *Origin) Tap() *tap.Tap { return o.tap }

// Close breaks all connections.
func (o *Origin) Close() error {
	err := o.server.Close()
	<-o.ended
	return err
}

// Expect says how the exchange of that id is to be answered.
func (o *Origin) Expect(id string, a Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[id] = a
}

// Seen returns what has reached the origin of the exchange so far, and whether
// even its headers did.
func (o *Origin) Seen(id string) (Seen, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s, ok := o.seen[id]
	if !ok {
		return Seen{}, false
	}
	return *s, true
}

// Forget frees what is known of an exchange; its id must not come again.
func (o *Origin) Forget(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.answers, id)
	delete(o.seen, id)
	delete(o.arrived, id)
	delete(o.done, id)
}

// Await returns once the request of that id was read to its end.
func (o *Origin) Await(ctx context.Context, id string) (Seen, error) {
	return o.await(ctx, id, o.done, "was not read to its end")
}

// AwaitHeaders returns once the request headers of that id have come.
func (o *Origin) AwaitHeaders(ctx context.Context, id string) (Seen, error) {
	return o.await(ctx, id, o.arrived, "did not arrive")
}

func (o *Origin) await(ctx context.Context, id string, signals map[string]chan struct{}, failure string) (Seen, error) {
	o.mu.Lock()
	c := signal(signals, id)
	o.mu.Unlock()
	select {
	case <-c:
		s, _ := o.Seen(id)
		return s, nil
	case <-ctx.Done():
		s, _ := o.Seen(id)
		return s, fmt.Errorf("origin: exchange %q %s: %w", id, failure, context.Cause(ctx))
	}
}

func signal(signals map[string]chan struct{}, id string) chan struct{} {
	c, ok := signals[id]
	if !ok {
		c = make(chan struct{})
		signals[id] = c
	}
	return c
}

// ServeHTTP answers as told by Expect. Requests without an id are answered by
// their path: .../bytes/N gives N bytes, anything else an empty 200.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get(IDHeader)
	a := o.arrive(id, r)
	if a.Early {
		o.answer(w, r, a)
		o.read(id, r)
		return
	}
	o.read(id, r)
	o.answer(w, r, a)
}

func (o *Origin) arrive(id string, r *http.Request) Answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	if id == "" {
		return byPath(r.URL.Path)
	}
	times := 1
	if before := o.seen[id]; before != nil {
		times += before.Times
	} else {
		close(signal(o.arrived, id))
	}
	o.seen[id] = &Seen{
		Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Proto: r.Proto,
		Header: r.Header.Clone(), ContentLength: r.ContentLength, HeadersAt: time.Now(), Times: times,
	}
	return o.answers[id]
}

func byPath(path string) Answer {
	_, n, ok := strings.Cut(path, "/bytes/")
	size, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil || size < 0 {
		return Answer{}
	}
	return Answer{Body: payload.Random(1, size)}
}

func (o *Origin) read(id string, r *http.Request) {
	if id == "" {
		_, _ = io.Copy(io.Discard, r.Body) // the benchmark looks at the client's side
		return
	}
	hash := sha256.New()
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Body.Read(buf)
		hash.Write(buf[:n])
		o.mu.Lock()
		if s := o.seen[id]; s != nil { // else nobody wants to know any more
			if n > 0 && s.Bytes == 0 {
				s.FirstByteAt = time.Now()
			}
			s.Bytes += int64(n)
		}
		o.mu.Unlock()
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		o.finish(id, r, err, [sha256.Size]byte(hash.Sum(nil)))
		return
	}
}

func (o *Origin) finish(id string, r *http.Request, err error, sum [sha256.Size]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.seen[id]
	if s == nil {
		return
	}
	s.Err, s.SHA256, s.Trailer, s.EndAt = err, sum, r.Trailer.Clone(), time.Now()
	if s.Times == 1 {
		close(signal(o.done, id))
	}
}

func (o *Origin) answer(w http.ResponseWriter, r *http.Request, a Answer) {
	if a.GateAt == 0 && !pass(r.Context(), a.Gate) {
		return
	}
	if a.ResetAt == AtOnce {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	if a.Hints {
		h.Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		h.Del("Link")
	}
	for name, values := range a.Header {
		h[name] = slices.Clone(values)
	}
	if h.Get("Content-Type") == "" && a.Body.ContentType != "" {
		h.Set("Content-Type", a.Body.ContentType)
	}
	if a.Length != Chunked && h.Get("Content-Length") == "" && bodyAllowed(a.Status) {
		h.Set("Content-Length", strconv.FormatInt(a.Body.Size(), 10))
	}
	for name := range a.Trailer {
		h.Add("Trailer", name)
	}
	w.WriteHeader(max(a.Status, http.StatusOK))
	if r.Method != http.MethodHead && bodyAllowed(a.Status) {
		o.send(w, r, a)
	}
	for name, values := range a.Trailer {
		h[name] = slices.Clone(values)
	}
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified
}

func (o *Origin) send(w http.ResponseWriter, r *http.Request, a Answer) {
	body := a.Body.Reader()
	if a.Length == Chunked {
		_ = http.NewResponseController(w).Flush() // else the server declares the length of a short body
	}
	switch {
	case a.ResetAt > 0:
		_, _ = io.CopyN(w, body, a.ResetAt)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case a.GateAt > 0:
		_, _ = io.CopyN(w, body, a.GateAt)
		_ = http.NewResponseController(w).Flush()
		if !pass(r.Context(), a.Gate) {
			return
		}
	}
	_, _ = io.Copy(w, body) // whether it arrived is for the client to say
}

func pass(ctx context.Context, gate <-chan struct{}) bool {
	if gate == nil {
		return true
	}
	select {
	case <-gate:
		return true
	case <-ctx.Done():
		return false
	}
}
