package e2e_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// traceStore is a collector that keeps the spans of a service by their id.
type traceStore struct {
	collectorv1.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans map[string]map[string]*tracev1.Span // service, span id
}

// Export implements the OTLP service.
func (s *traceStore) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range r.GetResourceSpans() {
		service := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		if s.spans[service] == nil {
			s.spans[service] = map[string]*tracev1.Span{}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.spans[service][string(span.GetSpanId())] = span
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// joined counts exchanges of Portcullis whose parent is a span of Envoy's, and
// those that stand alone.
func (s *traceStore) joined() (with, alone int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.spans["portcullis"] {
		if !strings.HasSuffix(span.GetName(), "/Process") {
			continue
		}
		parent := s.spans["edge"][string(span.GetParentSpanId())]
		if parent != nil && string(parent.GetTraceId()) == string(span.GetTraceId()) {
			with++
		} else {
			alone++
		}
	}
	return with, alone
}

// traces makes Envoy send its own spans there.
func (b bootstrap) traces(t *testing.T, address string) {
	t.Helper()
	var tracing map[string]any
	if err := json.Unmarshal([]byte(`{"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": {
		"@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
		"grpc_service": {"envoy_grpc": {"cluster_name": "otel"}, "timeout": "1s"}, "service_name": "edge"}}}`), &tracing); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(address, ":")
	var cluster map[string]any
	if err := json.Unmarshal([]byte(`{"name": "otel", "type": "STATIC", "connect_timeout": "1s",
		"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
			"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}},
		"load_assignment": {"cluster_name": "otel", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
			"socket_address": {"address": "`+host+`", "port_value": `+port+`}}}}]}]}}`), &cluster); err != nil {
		t.Fatal(err)
	}
	resources := b["static_resources"].(map[string]any)
	resources["clusters"] = append(resources["clusters"].([]any), cluster)
	listener := resources["listeners"].([]any)[0].(map[string]any)
	chain := listener["filter_chains"].([]any)[0].(map[string]any)
	manager := chain["filters"].([]any)[0].(map[string]any)
	manager["typed_config"].(map[string]any)["tracing"] = tracing
}

// What a real Envoy traces goes on at the gate: the span of the exchange is below
// Envoy's span of the call, whatever traceparent the client has sent.
func TestTraceJoinsEnvoys(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	store, server := &traceStore{spans: map[string]map[string]*tracev1.Span{}}, grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, store)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	p := startPortcullis(t, rig.PortcullisOptions{Config: "tracing: {otlp: {address: \"" + l.Addr().String() + "\"}, sample_ratio: 0}\n"})
	g := startRewired(t, p, envoy.Options{}, func(b bootstrap) { b.traces(t, l.Addr().String()) })
	const exchanges = 5
	for i := range uint64(exchanges) {
		x := g.send(t, client.HTTP1, client.Request{
			Path: "/x", Body: payload.Random(i, 5000),
			Header: http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
		}, origin.Answer{})
		if x.Status != http.StatusOK {
			t.Fatalf("status %d", x.Status)
		}
	}
	with, alone := 0, 0
	for end := time.Now().Add(30 * time.Second); with < exchanges && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		with, alone = store.joined()
	}
	if with != exchanges || alone > 0 {
		t.Errorf("%d exchanges of %d are in Envoy's trace, %d are not", with, exchanges, alone)
	}
}
