package app

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/portcullis-av/portcullis/envoy"
)

// envoyVersion is the release that the Makefile installs and the tests use.
const envoyVersion = "1.40.0"

// findEnvoy looks where the tests look: the flag, $ENVOY, PATH, and the private
// venv that e2e/install makes.
func findEnvoy(flag string, getenv func(string) string) (string, error) {
	for _, f := range []string{flag, getenv("ENVOY")} {
		if f != "" {
			return exec.LookPath(f)
		}
	}
	if found, err := exec.LookPath("envoy"); err == nil {
		return found, nil
	}
	cache := getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(getenv("HOME"), ".cache")
	}
	found, _ := filepath.Glob(filepath.Join(cache, "portcullis", "envoy-"+envoyVersion, "lib", "python3*", "site-packages", "envoy", "_bin", "envoy"))
	if len(found) > 0 {
		return found[0], nil
	}
	return "", errors.New("there is no Envoy: run \"make demo\", which installs one, or set $ENVOY or --envoy to a binary")
}

// demoOrigin is the service behind the gate. It counts what reaches it.
type demoOrigin struct {
	address string
	bytes   atomic.Int64
	calls   atomic.Int64
}

func (d *demo) startOrigin(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	o := &demoOrigin{address: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		o.bytes.Add(n)
		o.calls.Add(1)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "the origin got %d bytes; the gate says %s\n", n, r.Header.Get("X-Portcullis-Verdict")) //nolint:gosec // plain text
	})
	mux.HandleFunc("/download/clean", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a clean download\n")
	})
	mux.HandleFunc("/download/eicar", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(eicar())
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	d.origin = o
	d.stops = append(d.stops, func() { _ = srv.Close() })
	return nil
}

// eicar is the harmless test file that every scanner calls malware, in two
// pieces, so that this program is not called so itself.
func eicar() []byte {
	return []byte(strings.Join([]string{`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD`, `ANTIVIRUS-TEST-FILE!$H+H*`}, "-"))
}

// startClamd runs a private clamd with a database of one signature, if clamd is
// installed; it returns its socket, or "".
func (d *demo) startClamd(ctx context.Context, dir string) (string, error) {
	binary, err := exec.LookPath("clamd")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/clamd"); err != nil {
			return "", nil //nolint:nilerr // no clamd is no failure: the demo does without
		}
	}
	socket := filepath.Join(dir, "clamd.sock")
	db := filepath.Join(dir, "db")
	conf := filepath.Join(dir, "clamd.conf")
	err = errors.Join(
		os.Mkdir(db, 0o700),
		os.WriteFile(filepath.Join(db, "demo.ndb"), fmt.Appendf(nil, "Eicar-Test-Signature:0:0:%s\n", hex.EncodeToString(eicar())), 0o600),
		os.WriteFile(conf, []byte("Foreground yes\nDatabaseDirectory "+db+"\nTemporaryDirectory "+dir+"\nLocalSocket "+socket+
			"\nStreamMaxLength 100M\nMaxFileSize 100M\nMaxScanSize 400M\nAlertExceedsMax yes\nAlertEncrypted yes\nSelfCheck 0\n"), 0o600))
	if err != nil {
		return "", err
	}
	if err := d.startProcess(ctx, binary, "--config-file="+conf); err != nil {
		return "", err
	}
	return socket, waitFor(ctx, 20*time.Second, func() error {
		_, err := os.Stat(socket)
		return err
	})
}

// startEnvoy runs Envoy with the generated configuration, and beside it a
// listener without the gate, so that its cost can be seen.
func (d *demo) startEnvoy(ctx context.Context, binary, dir, processor string) (err error) {
	if d.front, err = freeAddress(ctx); err != nil {
		return err
	}
	if d.plain, err = freeAddress(ctx); err != nil {
		return err
	}
	b, err := envoy.Static(envoy.Options{
		Profile: envoy.Profile(d.profile), Listen: d.front, Upstream: d.origin.address, Processor: processor,
	})
	if err != nil {
		return err
	}
	without, err := withoutGate(b.GetStaticResources().GetListeners()[0], d.plain)
	if err != nil {
		return err
	}
	b.StaticResources.Listeners = append(b.StaticResources.Listeners, without)
	text, err := protojson.Marshal(b)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "envoy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	if err := d.startProcess(ctx, binary, "-c", file, "--disable-hot-restart", "--concurrency", "2", "--log-level", "error"); err != nil {
		return err
	}
	return waitReady(ctx, "http://"+d.front+"/download/clean", 20*time.Second)
}

// withoutGate copies a listener to another port and drops ext_proc from it.
func withoutGate(l *listenerv3.Listener, address string) (*listenerv3.Listener, error) {
	const extProc = "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	copied := proto.CloneOf(l)
	copied.Name = "without_the_gate"
	var number uint32
	if _, err := fmt.Sscan(port, &number); err != nil {
		return nil, err
	}
	copied.GetAddress().GetSocketAddress().PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: number}
	filter := copied.GetFilterChains()[0].GetFilters()[0]
	hcm := &hcmv3.HttpConnectionManager{}
	if err := filter.GetTypedConfig().UnmarshalTo(hcm); err != nil {
		return nil, err
	}
	kept := hcm.GetHttpFilters()[:0]
	for _, f := range hcm.GetHttpFilters() {
		if f.GetTypedConfig().GetTypeUrl() != extProc {
			kept = append(kept, f)
		}
	}
	hcm.HttpFilters = kept
	packed, err := anypb.New(hcm)
	if err != nil {
		return nil, err
	}
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed}
	return copied, nil
}

// startProcess runs a child until stop; what it prints is shown if it dies early.
func (d *demo) startProcess(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	d.stops = append(d.stops, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // ended by the signal, which is no success
	})
	return nil
}

func waitFor(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
