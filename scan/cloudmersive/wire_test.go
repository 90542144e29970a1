package cloudmersive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

func dialPipe(t *testing.T, e *Engine, dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	transport, ok := e.transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport is a %T", e.transport)
	}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
}

// rawRequest returns the bytes of the one request that scan makes, with the
// boundary and host replaced.
func rawRequest(t *testing.T, c Config, o scan.Object) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer conn.Close()
		var raw strings.Builder
		in := bufio.NewReader(io.TeeReader(conn, &raw))
		if r, err := http.ReadRequest(in); err == nil {
			_, _ = io.Copy(io.Discard, r.Body) // what is missing shows in the comparison
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(cleanJSON))+"\r\n\r\n"+cleanJSON)
		got <- raw.String()
	}()
	c.URL = "http://" + l.Addr().String()
	e := newEngine(t, c)
	if v, err := e.Scan(t.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
		t.Errorf("%+v, %v", v, err)
	}
	raw := strings.ReplaceAll(<-got, l.Addr().String(), "HOST")
	boundary := regexp.MustCompile(`boundary=([0-9a-f]{60})\r\n`).FindStringSubmatch(raw)
	if boundary == nil {
		t.Fatalf("no boundary of 60 hexadecimal digits in:\n%s", raw)
	}
	return strings.ReplaceAll(raw, boundary[1], "BOUNDARY")
}

func lines(s ...string) string { return strings.Join(s, "\r\n") }

// The request of the basic scan, byte for byte.
func TestBasicRequest(t *testing.T) {
	o := scantest.Object([]byte("some\r\nbytes"))
	got := rawRequest(t, Config{}, o)
	want := lines(
		"POST /virus/scan/file HTTP/1.1",
		"Host: HOST",
		"User-Agent: portcullis",
		"Content-Length: 235",
		"Accept: application/json",
		"Apikey: "+cloudmersivetest.DefaultKey,
		"Content-Type: multipart/form-data; boundary=BOUNDARY",
		"",
		"--BOUNDARY",
		`Content-Disposition: form-data; name="inputFile"`,
		"Content-Type: application/octet-stream",
		"",
		"some", "bytes",
		"--BOUNDARY--",
		"",
	)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Advanced options keep their documented spelling on HTTP/1.1.
func TestAdvancedRequest(t *testing.T) {
	no := false
	o := scantest.Object([]byte("x"))
	o.Name = "a b.pdf"
	got := rawRequest(t, Config{Advanced: &Advanced{
		AllowExecutables: &no, ScanMultipartFile: true, BlockInvalidURIs: true, RestrictFileTypes: []string{".pdf", ".docx"},
	}}, o)
	for _, want := range []string{
		"POST /virus/scan/file/advanced HTTP/1.1\r\n",
		"\r\nfileName: a b.pdf\r\n",
		"\r\nallowExecutables: false\r\n",
		"\r\noptions: blockInvalidUris,scanMultipartFile\r\n",
		"\r\nrestrictFileTypes: .pdf,.docx\r\n",
		`form-data; name="inputFile"` + "\r\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "allowScripts") {
		t.Errorf("an option that was not set was sent:\n%s", got)
	}
}

// The name is the object's, a fixed one, or none.
func TestFileNameSetting(t *testing.T) {
	none, fixed := "", "upload.bin"
	for _, c := range []struct {
		setting *string
		name    string
		want    string
	}{
		{nil, "a.txt", "a.txt"},
		{nil, "", ""},
		{nil, "a\r\nb", "ab"},
		{&none, "a.txt", ""},
		{&fixed, "a.txt", "upload.bin"},
		{&fixed, "", "upload.bin"},
	} {
		s := newServer(t)
		o := scantest.Object([]byte("x"))
		o.Name = c.name
		for _, advanced := range []*Advanced{nil, {}} {
			if _, err := newEngine(t, Config{URL: s.URL(), FileName: c.setting, Advanced: advanced}).Scan(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		basic, advanced := s.Requests()[0], s.Requests()[1]
		if basic.PartFileName != c.want || advanced.Options["fileName"] != c.want || advanced.PartFileName != "" {
			t.Errorf("%+v: basic %q, advanced %q and %q", c, basic.PartFileName, advanced.Options["fileName"], advanced.PartFileName)
		}
	}
}

func TestPathPrefix(t *testing.T) {
	s := newServer(t, cloudmersivetest.WithPrefix("/private"))
	e := newEngine(t, Config{URL: s.URL() + "/"})
	if v, err := e.Scan(t.Context(), scantest.Object(scantest.EICAR())); err != nil || v.Outcome != scan.OutcomeInfected {
		t.Errorf("%+v, %v", v, err)
	}
}

// Scans after each other share one connection.
func TestKeepAlive(t *testing.T) {
	s := newServer(t)
	e := newEngine(t, Config{URL: s.URL()})
	dials := 0
	var dialer net.Dialer
	dialPipe(t, e, func(ctx context.Context) (net.Conn, error) {
		dials++
		return dialer.DialContext(ctx, "tcp", strings.TrimPrefix(s.URL(), "http://"))
	})
	for range 5 {
		if _, err := e.Scan(t.Context(), scantest.Object(scantest.Text(1<<20, 1))); err != nil {
			t.Fatal(err)
		}
	}
	if dials != 1 {
		t.Errorf("%d connections for 5 scans", dials)
	}
}

// A transport that goes on reading the body after it has answered, as an
// http.RoundTripper may, no longer reaches the object.
func TestLateReadsFail(t *testing.T) {
	var late io.ReadCloser
	var rewind func() (io.ReadCloser, error)
	rt := roundTrip(func(r *http.Request) (*http.Response, error) {
		late, rewind = r.Body, r.GetBody
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
	})
	content := &guarded{}
	o := scan.Object{Size: 10, Content: content}
	_, err := newEngine(t, Config{Transport: rt}).Scan(t.Context(), o)
	wantKind(t, err, scan.KindOverload)
	content.end()
	if n, err := io.ReadAll(late); err == nil || len(n) > 0 {
		t.Errorf("a late read gave %d bytes, %v", len(n), err)
	}
	again, err := rewind()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadAll(again); err == nil || len(n) > 0 {
		t.Errorf("a late rewind gave %d bytes, %v", len(n), err)
	}
	if content.touched() {
		t.Error("the object was touched after Scan returned")
	}
}

// Scan waits for a read of the object that is under way when it gives up.
func TestScanWaitsForRead(t *testing.T) {
	reading, goOn := make(chan struct{}), make(chan struct{})
	content := &guarded{before: func() { close(reading); <-goOn }}
	rt := roundTrip(func(r *http.Request) (*http.Response, error) {
		go func() { _, _ = io.Copy(io.Discard, r.Body) }() // fails once the scan is over
		<-reading
		return nil, errors.New("broken")
	})
	e := newEngine(t, Config{Transport: rt})
	done := make(chan error)
	go func() {
		_, err := e.Scan(t.Context(), scan.Object{Size: 10, Content: content})
		content.end()
		done <- err
	}()
	<-reading
	select {
	case <-done:
		t.Fatal("Scan returned during a read")
	case <-time.After(50 * time.Millisecond):
		// Time for a Scan that does not wait to be caught; a bubble's clock
		// stands still while Scan waits for a lock, which is what it does.
	}
	close(goOn)
	wantKind(t, <-done, scan.KindUnreachable)
	if content.touched() {
		t.Error("the object was touched after Scan returned")
	}
}

// guarded is content that notes reads that begin, or go on, after its end.
type guarded struct {
	before func()
	mu     sync.Mutex
	over   bool
	late   bool
}

func (g *guarded) ReadAt(p []byte, _ int64) (int, error) {
	if g.before != nil {
		g.before()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = g.late || g.over
	return len(p), nil
}

func (g *guarded) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

func (g *guarded) touched() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.late
}

// What goes wrong with our own disk is not blamed on the service, even when the
// service has answered.
func TestSpoolFailure(t *testing.T) {
	spool := &scan.Error{Kind: scan.KindSpool, Op: "read spooled body", Err: errors.New("disk")}
	for name, content := range map[string]io.ReaderAt{
		"typed": failing{spool}, "plain": failing{errors.New("disk")}, "short": failing{io.EOF},
	} {
		for _, b := range []cloudmersivetest.Behaviour{cloudmersivetest.Answer(), cloudmersivetest.JSON(cleanJSON)} {
			s := newServer(t)
			s.Always(b)
			e := newEngine(t, Config{URL: s.URL(), Retry: true})
			_, err := e.Scan(t.Context(), scan.Object{Size: 1 << 20, Content: content})
			wantKind(t, err, scan.KindSpool)
			if name == "typed" && !errors.Is(err, spool) {
				t.Errorf("%v is not the error of the content", err)
			}
		}
	}
}

// A transport that hides the failed upload behind an answer changes nothing.
func TestSpoolFailureBehindReply(t *testing.T) {
	rt := roundTrip(func(r *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			t.Error("the upload did not fail")
		}
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(cleanJSON))}, nil
	})
	e := newEngine(t, Config{Transport: rt})
	_, err := e.Scan(t.Context(), scan.Object{Size: 1 << 20, Content: failing{io.EOF}})
	wantKind(t, err, scan.KindSpool)
}

type failing struct{ err error }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > 500_000 {
		return 0, f.err
	}
	return len(p), nil
}

// An error of the transport that quotes the key is told without it.
func TestKeyIsHiddenInErrors(t *testing.T) {
	rt := roundTrip(func(r *http.Request) (*http.Response, error) {
		_ = r.Body.Close() // an uploadReader's Close cannot fail
		return nil, fmt.Errorf("malformed line: Apikey: %s: %w", r.Header.Get("Apikey"), io.ErrUnexpectedEOF)
	})
	_, err := newEngine(t, Config{Transport: rt}).Scan(t.Context(), scantest.Object([]byte("x")))
	wantKind(t, err, scan.KindUnreachable)
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.Contains(e.Error(), cloudmersivetest.DefaultKey) {
			t.Errorf("%T holds the key: %v", e, e)
		}
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v has lost what it is", err)
	}
}
