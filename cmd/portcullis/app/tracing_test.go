package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
)

// collector is a fake OpenTelemetry collector that keeps the spans it gets.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	address string

	mu       sync.Mutex
	spans    []*tracev1.Span
	metadata metadata.MD
	resource map[string]string
}

func startCollector(t *testing.T, opts ...grpc.ServerOption) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{address: l.Addr().String(), resource: map[string]string{}}
	server := grpc.NewServer(opts...)
	collectorv1.RegisterTraceServiceServer(server, c)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return c
}

// Export implements the OTLP service.
func (c *collector) Export(ctx context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metadata, _ = metadata.FromIncomingContext(ctx)
	for _, of := range r.GetResourceSpans() {
		for _, a := range of.GetResource().GetAttributes() {
			c.resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, s := range of.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// of returns the spans of a trace once that of the exchange has come, which ends
// last.
func (c *collector) of(t *testing.T, id string) spans {
	t.Helper()
	var found spans
	until(t, "the collector has trace "+id, func() bool {
		found = c.now(id)
		return slices.ContainsFunc(found, func(s *tracev1.Span) bool { return s.GetKind() == tracev1.Span_SPAN_KIND_SERVER })
	})
	return found
}

func (c *collector) now(id string) spans {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found spans
	for _, s := range c.spans {
		if fmt.Sprintf("%x", s.GetTraceId()) == id {
			found = append(found, s)
		}
	}
	return found
}

type spans []*tracev1.Span

// named returns the one span of that name.
func (s spans) named(t *testing.T, name string) *tracev1.Span {
	t.Helper()
	var found *tracev1.Span
	for _, one := range s {
		if one.GetName() != name {
			continue
		}
		if found != nil {
			t.Errorf("two spans are named %s", name)
		}
		found = one
	}
	if found == nil {
		t.Fatalf("no span is named %s", name)
	}
	return found
}

var changing = regexp.MustCompile(`[0-9a-f]{16}`)

// tree writes spans as lines, each below its parent: name, attributes, status.
func (s spans) tree(parent []byte, indent string) string {
	var b strings.Builder
	children := slices.DeleteFunc(slices.Clone(s), func(one *tracev1.Span) bool { return string(one.GetParentSpanId()) != string(parent) })
	slices.SortFunc(children, func(a, b *tracev1.Span) int {
		return strings.Compare(fmt.Sprintf("%020d %s", a.GetStartTimeUnixNano(), a.GetName()), fmt.Sprintf("%020d %s", b.GetStartTimeUnixNano(), b.GetName()))
	})
	for _, one := range children {
		fmt.Fprintf(&b, "%s%s:", indent, one.GetName())
		for _, a := range one.GetAttributes() {
			name, ours := strings.CutPrefix(a.GetKey(), "portcullis.")
			if !ours {
				continue
			}
			value := a.GetValue().GetStringValue()
			if value == "" {
				value = fmt.Sprint(a.GetValue().GetIntValue())
			}
			if name == "exchange" {
				value = changing.ReplaceAllString(value, "ID")
			}
			fmt.Fprintf(&b, " %s=%s", name, value)
		}
		if st := one.GetStatus(); st.GetCode() == tracev1.Status_STATUS_CODE_ERROR {
			fmt.Fprintf(&b, " Error(%s)", st.GetMessage())
		}
		b.WriteString("\n" + s.tree(one.GetSpanId(), indent+"  "))
	}
	return b.String()
}

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	parentID = "b7ad6b7169203331"
)

// tracedBy is an Envoy whose own trace has that id: it says so in the gRPC
// metadata of its calls.
func tracedBy(r *running, id, flags, state string) *extproctest.Envoy {
	cfg := extproctest.Duplex()
	cfg.InitialMetadata = map[string]string{
		"traceparent": "00-" + id + "-" + parentID + "-" + flags, "tracestate": state, "baggage": "secret=1",
	}
	return extproctest.New(r.dial(nil), cfg)
}

// Exchanges of every kind as they stand in Envoy's trace.
func TestTraces(t *testing.T) {
	t.Parallel()
	otlp := startCollector(t)
	clamd := clamdtest.Start(t, clamdtest.Options{})
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("Bearer hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := started(t, fmt.Sprintf(`
engines:
  - {name: builtin, builtin: {}}
  - {name: clamav, clamd: {addresses: [%q]}}
  - {name: away, clamd: {addresses: ["127.0.0.1:1"]}}
policies:
  - {name: default, engines: [builtin], response: skip}
  - {name: daemon, engines: [clamav], response: skip}
  - {name: broken, engines: [away], response: skip}
  - {name: open, engines: [away], response: skip, fail: open}
rules:
  - {when: 'request.path.startsWith("/daemon")', policy: daemon}
  - {when: 'request.path.startsWith("/broken")', policy: broken}
  - {when: 'request.path.startsWith("/open")', policy: open}
cache: {memory_entries: 0}
tracing:
  otlp:
    address: %q
    headers: [{name: Authorization, value_file: %q}, {name: x-scope, value: edge}]
  sample_ratio: 0
  service_name: edge
`, clamd.Address(), otlp.address, secret))
	r.becomes("/metrics", 200, `portcullis_engine_up{engine="clamav",instance="`+clamd.Address()+`",kind="clamd"} 1`)
	const process = "envoy.service.ext_proc.v3.ExternalProcessor/Process: "
	for i, c := range []struct {
		name, path string
		body       []byte
		status     int
		want       string
	}{
		{"error", "/broken", []byte("x"), 503, process + `exchange=ID policy=broken end=refused request.outcome=ERROR request.cause=engine-unreachable request.action=block request.bytes=1 Error(engine-unreachable)
  hold request: leg=request bytes=1
  scan request: leg=request outcome=ERROR cause=engine-unreachable engine=away objects=1 Error(engine-unreachable)
    engine away: bytes=1 outcome=ERROR cause=engine-unreachable engine=away Error(engine-unreachable)
      queue: engine=away
      call: outcome=ERROR cause=engine-unreachable engine=away Error(engine-unreachable)
`},
		{"fail-open", "/open", []byte("x"), 200, process + `exchange=ID policy=open end=complete request.outcome=ERROR request.cause=engine-unreachable request.action=pass request.bytes=1 response.outcome=SKIPPED response.cause=out-of-scope response.action=pass response.bytes=0
  hold request: leg=request bytes=1
  scan request: leg=request outcome=ERROR cause=engine-unreachable engine=away objects=1 Error(engine-unreachable)
    engine away: bytes=1 outcome=ERROR cause=engine-unreachable engine=away Error(engine-unreachable)
      queue: engine=away
      call: outcome=ERROR cause=engine-unreachable engine=away Error(engine-unreachable)
  release request: leg=request bytes=1
`},
		{"clean", "/a?token=hush", []byte("a clean text"), 200, process + `exchange=ID policy=default end=complete request.outcome=CLEAN request.cause=scanned request.action=pass request.bytes=12 response.outcome=SKIPPED response.cause=out-of-scope response.action=pass response.bytes=0
  hold request: leg=request bytes=12
  scan request: leg=request outcome=CLEAN cause=scanned engine=builtin objects=1
    engine builtin: bytes=12 outcome=CLEAN cause=scanned engine=builtin
      queue: engine=builtin
      call: outcome=CLEAN cause=scanned engine=builtin
  release request: leg=request bytes=12
`},
		{"infected", "/daemon", eicar(), 403, process + `exchange=ID policy=daemon end=refused request.outcome=INFECTED request.cause=malware request.action=block request.bytes=68
  hold request: leg=request bytes=68
  scan request: leg=request outcome=INFECTED cause=malware engine=clamav objects=1
    engine clamav: bytes=68 outcome=INFECTED cause=malware engine=clamav
      queue: engine=clamav
      call: outcome=INFECTED cause=malware engine=clamav
`},
		{"empty", "/empty", nil, 200, process + `exchange=ID policy=default end=complete request.outcome=CLEAN request.cause=empty request.action=pass request.bytes=0 response.outcome=SKIPPED response.cause=out-of-scope response.action=pass response.bytes=0
  hold request: leg=request bytes=0
  scan request: leg=request outcome=CLEAN cause=empty objects=0
  release request: leg=request bytes=0
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := fmt.Sprintf("%s%02x", traceID[:30], i)
			got := tracedBy(r, id, "01", "vendor=opaque").Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{
				Headers: extproctest.Headers{{Key: ":method", Value: "POST"}, {Key: ":path", Value: c.path}}, Body: extproctest.Cut(c.body, 100),
			}})
			if got.Client.Status != c.status {
				t.Errorf("status %d, want %d", got.Client.Status, c.status)
			}
			all := otlp.of(t, id)
			if diff := cmp.Diff(c.want, all.tree([]byte("\xb7\xadkqi 31"), "")); diff != "" {
				t.Errorf("the trace is another one (-want +got):\n%s", diff)
			}
			for _, s := range all {
				if text := s.String(); strings.Contains(text, "hush") || strings.Contains(text, "secret") || strings.Contains(strings.ToLower(text), "eicar") {
					t.Errorf("a span tells too much: %s", text)
				}
				if s.GetTraceState() != "vendor=opaque" {
					t.Errorf("%s has trace state %q", s.GetName(), s.GetTraceState())
				}
			}
			if !strings.Contains(r.log.String(), `"trace_id":"`+id+`"`) {
				t.Error("the log does not name the trace")
			}
		})
	}
	otlp.mu.Lock()
	defer otlp.mu.Unlock()
	if got := strings.Join(otlp.metadata.Get("authorization"), ",") + " " + strings.Join(otlp.metadata.Get("x-scope"), ","); got != "Bearer hush edge" {
		t.Errorf("the collector got the headers %q", got)
	}
	if otlp.resource["service.name"] != "edge" || otlp.resource["service.version"] == "" {
		t.Errorf("the service calls itself %v", otlp.resource)
	}
	if _, text := r.get("/configz"); !strings.Contains(text, "sample_ratio: 0\n") || strings.Contains(text, "hush") {
		t.Errorf("/configz says of tracing:\n%s", text)
	}
}

// An exchange that is cut off has a trace as well: what was held until then.
func TestTraceOfAborted(t *testing.T) {
	t.Parallel()
	otlp := startCollector(t)
	r := started(t, fmt.Sprintf("tracing: {otlp: {address: %q}}\n", otlp.address))
	ctx, leave := context.WithCancel(t.Context())
	s := tracedBy(r, traceID, "01", "").Open(ctx, t)
	s.SendRequestHeaders(extproctest.Headers{{Key: ":method", Value: "POST"}, {Key: ":path", Value: "/up"}}, false)
	s.SendRequestBody([]byte("the first part"), false)
	r.becomes("/metrics", 200, "portcullis_spool_bodies 1\n")
	leave()
	all := otlp.of(t, traceID)
	const want = `envoy.service.ext_proc.v3.ExternalProcessor/Process: exchange=ID policy=default end=aborted request.outcome=UNDECIDED request.cause=aborted request.action=block request.bytes=14
  hold request: leg=request bytes=14
`
	if diff := cmp.Diff(want, all.tree([]byte("\xb7\xadkqi 31"), "")); diff != "" {
		t.Errorf("the trace is another one (-want +got):\n%s", diff)
	}
}

// Envoy decides about what it traces; the ratio is for what it does not.
func TestTraceSampling(t *testing.T) {
	t.Parallel()
	otlp := startCollector(t)
	r := started(t, fmt.Sprintf("tracing: {otlp: {address: %q}, sample_ratio: 1}\n", otlp.address))
	x := extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut([]byte("text"), 100)}}
	const long = "00000000000000000000000000000001"
	tracedBy(r, traceID, "00", "").Do(t.Context(), x)
	tracedBy(r, long, "01", "a="+strings.Repeat("x", 200)+",b="+strings.Repeat("y", 200)+",c="+strings.Repeat("z", 200)).Do(t.Context(), x)
	extproctest.New(r.dial(nil), extproctest.Duplex()).Do(t.Context(), x)
	if _, err := scanContent(t.Context(), r.dial(nil), eicar()); err != nil {
		t.Fatal(err)
	}
	for _, s := range otlp.of(t, long) {
		if s.GetTraceState() != "" {
			t.Errorf("a trace state of %d bytes went on", len(s.GetTraceState()))
		}
	}
	if code := r.stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
	roots := map[string]int{}
	otlp.mu.Lock()
	defer otlp.mu.Unlock()
	for _, s := range otlp.spans {
		if len(s.GetParentSpanId()) == 0 {
			roots[s.GetName()]++
		}
		if fmt.Sprintf("%x", s.GetTraceId()) == traceID {
			t.Errorf("span %s of an exchange that Envoy does not trace", s.GetName())
		}
	}
	want := map[string]int{"envoy.service.ext_proc.v3.ExternalProcessor/Process": 1, "portcullis.scan.v1.ScanService/Scan": 1}
	if diff := cmp.Diff(want, roots); diff != "" { // neither health checks, nor canaries
		t.Errorf("traces began (-want +got):\n%s", diff)
	}
	if !strings.Contains(r.log.String(), `"trace_id":"`+traceID+`"`) {
		t.Error("the log does not name a trace that others keep")
	}
}

// Another Portcullis joins the trace at the call that asks it.
func TestTraceGoesOnToTheRemote(t *testing.T) {
	t.Parallel()
	otlp := startCollector(t)
	tracing := fmt.Sprintf("tracing: {otlp: {address: %q}, sample_ratio: 0}\n", otlp.address)
	far := started(t, tracing)
	near := started(t, tracing+fmt.Sprintf("engines: [{name: far, remote: {address: %q}}]\ncache: {memory_entries: 0}\n", far.extproc))
	near.becomes("/readyz", 200, "ready\n")
	tracedBy(near, traceID, "01", "").Do(t.Context(),
		extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut(eicar(), 100)}})
	near.stop()
	far.stop()
	all := otlp.now(traceID)
	theirs := all.named(t, "portcullis.scan.v1.ScanService/Scan")
	ours := slices.DeleteFunc(slices.Clone(all), func(s *tracev1.Span) bool { return string(s.GetSpanId()) != string(theirs.GetParentSpanId()) })
	if len(ours) != 1 || ours[0].GetName() != "call" {
		t.Errorf("the far exchange is part of %v", ours)
	}
}

// A body of many objects makes no more spans than fit.
func TestTraceOfManyObjects(t *testing.T) {
	t.Parallel()
	otlp := startCollector(t)
	r := started(t, fmt.Sprintf("tracing: {otlp: {address: %q}}\n", otlp.address))
	var form strings.Builder
	for i := range 100 {
		fmt.Fprintf(&form, "--b\r\nContent-Disposition: form-data; name=\"f%d\"; filename=\"f%d\"\r\n\r\npart %d\r\n", i, i, i)
	}
	form.WriteString("--b--\r\n")
	tracedBy(r, traceID, "01", "").Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{
		Headers: extproctest.Headers{{Key: ":method", Value: "POST"}, {Key: ":path", Value: "/"}, {Key: "content-type", Value: "multipart/form-data; boundary=b"}},
		Body:    extproctest.Cut([]byte(form.String()), 1000),
	}})
	all := otlp.of(t, traceID)
	engines := 0
	for _, s := range all {
		if s.GetName() == "engine builtin" {
			engines++
		}
	}
	scanned := spans{all.named(t, "scan request")}.tree(all.named(t, "scan request").GetParentSpanId(), "")
	if want := "scan request: leg=request outcome=CLEAN cause=scanned engine=builtin objects=101 omitted=69\n"; engines != 32 || scanned != want {
		t.Errorf("%d objects have spans, and the scan says %s", engines, scanned)
	}
}

// A collector with TLS that wants a certificate gets ours; one that another
// authority signed gets no span, and no header.
func TestTracesOverTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	for signer, right := range map[*authority]bool{ours: true, theirs: false} {
		signer.server("collector")
		pair, err := tls.LoadX509KeyPair(signer.file("collector.pem"), signer.file("collector.key"))
		if err != nil {
			t.Fatal(err)
		}
		clients := x509.NewCertPool()
		clients.AddCert(ours.cert)
		otlp := startCollector(t, grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12,
		})))
		ours.client("gate")
		r := started(t, fmt.Sprintf("tracing: {otlp: {address: %q, tls: {ca_file: %q, cert_file: %q, key_file: %q}, headers: [{name: x-scope, value: edge}]}}\n",
			otlp.address, ours.file("ca.pem"), ours.file("gate.pem"), ours.file("gate.key")))
		tracedBy(r, traceID, "01", "").Do(t.Context(), extproctest.Exchange{})
		if right {
			otlp.of(t, traceID)
			continue
		}
		until(t, "spans are counted as failed", func() bool {
			_, text := r.get("/metrics")
			return strings.Contains(text, "portcullis_trace_spans_total") && !strings.Contains(text, `portcullis_trace_spans_total{result="failed"} 0`)
		})
		otlp.mu.Lock()
		if len(otlp.spans) > 0 || otlp.metadata != nil {
			t.Error("somebody else's collector got something")
		}
		otlp.mu.Unlock()
		if log := r.log.String(); strings.Count(log, "traces are lost") != 1 || !strings.Contains(log, "certificate") {
			t.Errorf("the log does not say once why: %s", log)
		}
	}
}

// What is wrong with the settings is told at the start, and no secret with it.
func TestTracingMistakes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("hush\nhush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, otlp := range map[string]string{
		"no PEM certificate in": fmt.Sprintf("tls: {ca_file: %q}", file),
		"on one line":           fmt.Sprintf("headers: [{name: authorization, value_file: %q}]", file),
	} {
		r := serve(t, fmt.Sprintf("tracing: {otlp: {address: \"127.0.0.1:1\", %s}}\n", otlp))
		if log := r.log.String(); r.code == 0 || !strings.Contains(log, what) || !strings.Contains(log, "tracing.otlp") || strings.Contains(log, "hush") {
			t.Errorf("exit %d: %s", r.code, log)
		}
		if code, _, stderr := run(t, "check", "--config", r.file); code == 0 || !strings.Contains(stderr, what) {
			t.Errorf("check: exit %d: %s", code, stderr)
		}
	}
}

// A collector that does not take spans holds up no exchange, nor the end (F-40).
func TestDeafCollector(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"accepts and never answers": deaf,
		"refuses":                   func(*testing.T) string { return "127.0.0.1:1" },
		"drops packets":             blackHole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := started(t, fmt.Sprintf("tracing: {otlp: {address: %q}}\n", address(t)))
			envoy := extproctest.New(r.dial(nil), extproctest.Duplex())
			var slowest time.Duration
			for range 600 { // of six spans each: more than the queue and a batch hold
				start := time.Now()
				got := envoy.Do(t.Context(), extproctest.Exchange{Request: extproctest.Message{Body: extproctest.Cut([]byte("text"), 100)}})
				if slowest = max(slowest, time.Since(start)); got.Client.Status != 200 {
					t.Fatalf("status %d", got.Client.Status)
				}
			}
			r.becomes("/metrics", 200, `portcullis_trace_spans_total{result="sent"} 0`)
			if _, text := r.get("/metrics"); strings.Contains(text, `portcullis_trace_spans_total{result="dropped"} 0`) && strings.Contains(text, `portcullis_trace_spans_total{result="failed"} 0`) {
				t.Error("no span is counted as lost")
			}
			if slowest > patience/4 {
				t.Errorf("the slowest exchange took %v", slowest)
			}
			begun := time.Now()
			if code := r.stop(); code != 0 || time.Since(begun) > 10*time.Second {
				t.Errorf("exit %d after %v", code, time.Since(begun))
			}
		})
	}
}

// deaf takes connections and says nothing.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// blackHole is an address where nobody answers a connection: its backlog is full,
// so that packets for further ones are dropped.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 8 {
		c, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the backlog does not fill")
	return ""
}
