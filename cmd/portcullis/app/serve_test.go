package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
	"github.com/portcullis-av/portcullis/scan/scantest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// running is a gate in this process, as "portcullis serve" starts it.
type running struct {
	t              *testing.T
	file           string // its configuration
	head           string // that stands before all lines of the test
	extproc, admin string
	log            *serveLog
	cancel         context.CancelFunc
	exited         chan struct{}
	code           int
}

// patience is for what takes milliseconds on a machine that does nothing else.
const patience = 20 * time.Second

// serve starts a gate on free ports with these further lines of configuration
// and waits until it serves. At the end of the test it is stopped.
func serve(t *testing.T, config string) *running {
	t.Helper()
	head := "log: {level: debug}\n"
	if !strings.Contains(config, "listen:") {
		head += "listen: {extproc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
	}
	if !strings.Contains(config, "drain:") {
		head += "drain: {grace: 0s, timeout: 5s}\n"
	}
	file := filepath.Join(t.TempDir(), "portcullis.yaml")
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{
		t: t, file: file, head: head, log: &serveLog{serves: make(chan struct{})}, cancel: cancel, exited: make(chan struct{}),
	}
	r.rewrite(config)
	go func() {
		defer close(r.exited)
		r.code = app.Run(ctx, app.Process{
			Args: []string{"serve", "--config", file}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: r.log,
			Getenv: func(string) string { return "" },
		})
	}()
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("the gate's log:\n%s", r.log)
		}
	})
	select {
	case <-r.log.serves:
		r.extproc, r.admin = r.log.addresses()
	case <-r.exited:
	case <-time.After(patience):
		t.Fatalf("the gate does not serve:\n%s", r.log)
	}
	return r
}

// rewrite replaces the lines of configuration.
func (r *running) rewrite(config string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(r.head+config), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// started fails the test when the gate has refused to start.
func started(t *testing.T, config string) *running {
	t.Helper()
	r := serve(t, config)
	if r.extproc == "" {
		t.Fatalf("the gate did not start: exit %d\n%s", r.code, r.log)
	}
	return r
}

// stop ends the gate in order and waits for its end.
func (r *running) stop() (code int) {
	r.t.Helper()
	r.cancel()
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Errorf("the gate does not end:\n%s", r.log)
	}
	return r.code
}

// get asks the admin port.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + r.admin + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// becomes waits until the admin port answers so.
func (r *running) becomes(path string, status int, contains string) {
	r.t.Helper()
	until(r.t, path+" says "+contains, func() bool {
		s, body := r.get(path)
		return s == status && strings.Contains(body, contains)
	})
}

// until waits for what another process or goroutine does in its own time.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never happened that %s", what)
		}
	}
}

// dial connects to the gRPC port; nil credentials are plain text.
func (r *running) dial(creds credentials.TransportCredentials) *grpc.ClientConn {
	r.t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	target := "passthrough:///" + r.extproc
	if strings.HasPrefix(r.extproc, "/") {
		target = "unix://" + r.extproc
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(creds))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// scan asks ScanService about content.
func scanContent(ctx context.Context, conn *grpc.ClientConn, content []byte) (*scanv1.ScanResponse, error) {
	stream, err := scanv1.NewScanServiceClient(conn).Scan(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&scanv1.ScanRequest{Chunk: content}); err != nil {
		return nil, err
	}
	return stream.CloseAndRecv()
}

// eicar is the harmless test virus.
func eicar() []byte { return scantest.EICAR() }

// serveLog keeps what the gate writes and tells when it serves.
type serveLog struct {
	serves chan struct{}

	mu             sync.Mutex
	text           bytes.Buffer
	extproc, admin string
}

func (l *serveLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	var line struct{ Msg, Extproc, Admin string }
	if err := json.Unmarshal(p, &line); err == nil && line.Msg == "portcullis serves" {
		l.extproc, l.admin = line.Extproc, line.Admin
		close(l.serves)
	}
	return len(p), nil
}

func (l *serveLog) addresses() (extproc, admin string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.extproc, l.admin
}

func (l *serveLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
