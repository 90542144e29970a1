package remote_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/remote"
	"github.com/portcullis-av/portcullis/scan/scantest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// far is the other Portcullis: a real ScanService over a tiny scanner.
type far struct {
	address string
	server  *grpc.Server

	mu      sync.Mutex
	hang    bool
	early   bool           // answers without reading
	result  *scanv1.Result // in place of scanning
	err     error
	engines []scanv1.EngineState
	request scanv1.Request
	scans   int
	next    scan.Engine // asked before anything else
}

func (f *far) set(change func(*far)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *far) Scan(ctx context.Context, r scanv1.Request, content io.Reader) (scanv1.Result, error) {
	f.mu.Lock()
	f.request, f.scans = r, f.scans+1
	hang, early, result, err, next := f.hang, f.early, f.result, f.err, f.next
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return scanv1.Result{}, ctx.Err()
	}
	if early {
		return or(result), err
	}
	data, readErr := io.ReadAll(content)
	if readErr != nil {
		return scanv1.Result{}, readErr
	}
	if err != nil || result != nil {
		return or(result), err
	}
	if next != nil {
		v, err := next.Scan(ctx, scantest.Object(data))
		if err != nil {
			v = scan.ErrorVerdict(err)
		}
		return whole(v, data), nil
	}
	v := scan.CleanVerdict()
	if bytes.Contains(data, scantest.EICAR()) {
		v = scan.InfectedVerdict("Eicar-Test")
	}
	v.Signatures = "27000"
	return whole(v, data), nil
}

func or(r *scanv1.Result) scanv1.Result {
	if r == nil {
		return scanv1.Result{}
	}
	return *r
}

func whole(v scan.Verdict, data []byte) scanv1.Result {
	// Whatever it is, this far policy lets it pass.
	return scanv1.Result{Verdict: v, Action: scan.Pass, Policy: "default", Size: int64(len(data)), SHA256: sha256.Sum256(data), Whole: true}
}

func (f *far) Engines(context.Context) []scanv1.EngineState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.engines
}

// startFar serves on the network "tcp" or "unix".
func startFar(t *testing.T, network string, opts ...grpc.ServerOption) *far {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	f := &far{address: listener.Addr().String(), server: grpc.NewServer(opts...)}
	if network == "unix" {
		f.address = "unix:" + f.address
	}
	scanv1.RegisterScanServiceServer(f.server, scanv1.NewServer(f, f, func() time.Duration { return time.Minute }))
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(listener) }()
	t.Cleanup(func() {
		f.server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return f
}

func newEngine(t *testing.T, c remote.Config) *remote.Engine {
	t.Helper()
	e, err := remote.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestConformance(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			scantest.Conformance(t, func(t *testing.T) scantest.Rig {
				f := startFar(t, network)
				return scantest.Rig{
					Engine: newEngine(t, remote.Config{Address: f.address}),
					Break:  func(*testing.T) { f.server.Stop() },
					Hang: func(t *testing.T) {
						f.set(func(f *far) { f.hang = true })
						t.Cleanup(func() { f.set(func(f *far) { f.hang = false }) })
					},
				}
			})
		})
	}
}

// TestHungListener: a kernel that accepts for a service that does not.
func TestHungListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	e := newEngine(t, remote.Config{Address: listener.Addr().String(), ConnectTimeout: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	if _, err := e.Scan(ctx, scantest.Object([]byte("text"))); scan.KindOf(err) != scan.KindUnreachable {
		t.Errorf("error %v (%v)", err, scan.KindOf(err))
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestRecovery: a service that comes back is in use again at once, not after
// gRPC's minutes of backing off.
func TestRecovery(t *testing.T) {
	f := startFar(t, "tcp")
	e := newEngine(t, remote.Config{Address: f.address})
	o := scantest.Object([]byte("text"))
	if v, err := e.Scan(t.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
		t.Fatalf("%+v, %v", v, err)
	}
	f.server.Stop()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if v, err := e.Scan(t.Context(), o); scan.KindOf(err) != scan.KindUnreachable {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	again := grpc.NewServer()
	scanv1.RegisterScanServiceServer(again, scanv1.NewServer(f, f, func() time.Duration { return time.Minute }))
	served := make(chan error, 1)
	go func() { served <- again.Serve(listener) }()
	defer func() { again.Stop(); <-served }()
	began := time.Now()
	for {
		if v, err := e.Scan(t.Context(), o); err == nil && v.Outcome == scan.OutcomeClean {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("still unreachable 5 s after its return")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestTLS: both sides prove who they are, and nobody else is believed.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	serverCert, serverKey := ca.issue(t, "scanner.example.net")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	f := startFar(t, "tcp", grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool, MinVersion: tls.VersionTLS12,
	})))
	cert, key := ca.issue(t, "gate.example.net")
	other := newAuthority(t)
	otherCert, otherKey := other.issue(t, "gate.example.net")
	good := remote.TLS{CAFile: ca.file, CertFile: cert, KeyFile: key, ServerName: "scanner.example.net"}
	o := scantest.Object([]byte("text"))
	e := newEngine(t, remote.Config{Address: f.address, TLS: &good})
	if v, err := e.Scan(t.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
		t.Errorf("%+v, %v", v, err)
	}
	for name, c := range map[string]*remote.TLS{
		"plain text":          nil,
		"another name":        {CAFile: ca.file, CertFile: cert, KeyFile: key, ServerName: "other.example.net"},
		"another authority":   {CAFile: other.file, CertFile: cert, KeyFile: key, ServerName: "scanner.example.net"},
		"no certificate":      {CAFile: ca.file, ServerName: "scanner.example.net"},
		"unknown certificate": {CAFile: ca.file, CertFile: otherCert, KeyFile: otherKey, ServerName: "scanner.example.net"},
	} {
		e := newEngine(t, remote.Config{Address: f.address, TLS: c})
		if v, err := e.Scan(t.Context(), o); scan.KindOf(err) != scan.KindUnreachable {
			t.Errorf("%s: %+v, %v (%v)", name, v, err, scan.KindOf(err))
		}
	}
}

func TestNew(t *testing.T) {
	for _, c := range []remote.Config{
		{},
		{Address: "host"},
		{Address: ":9100"},
		{Address: "host:"},
		{Address: "unix:"},
		{Address: "unix:relative"},
		{Address: "host:9100", ConnectTimeout: -1},
		{Address: "unix:/s", TLS: &remote.TLS{}},
		{Address: "host:9100", TLS: &remote.TLS{CAFile: "/nonexistent"}},
		{Address: "host:9100", TLS: &remote.TLS{CAFile: "remote_test.go"}},
		{Address: "host:9100", TLS: &remote.TLS{CertFile: "a"}},
		{Address: "host:9100", TLS: &remote.TLS{KeyFile: "a"}},
		{Address: "host:9100", TLS: &remote.TLS{CertFile: "remote_test.go", KeyFile: "remote_test.go"}},
	} {
		if _, err := remote.New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}
