package envoy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	gatewayGroup      = "gateway.networking.k8s.io"
	envoyGatewayGroup = "gateway.envoyproxy.io"
	extensionPolicy   = "EnvoyExtensionPolicy"
	patchPolicy       = "EnvoyPatchPolicy"
	clientPolicy      = "ClientTrafficPolicy"
	backendPolicy     = "BackendTrafficPolicy"
	httpRoute         = "HTTPRoute"

	// noUpgrade is a protocol that no client upgrades to. Envoy Gateway permits
	// WebSockets wherever no other protocol is named, and has no word for none.
	noUpgrade = "none"
)

// GatewayYAML returns the policies that put the gate into an Envoy Gateway: the
// filter (EnvoyExtensionPolicy), the timers and buffers of the listeners
// (ClientTrafficPolicy), those of the routes (BackendTrafficPolicy), and a
// ReferenceGrant if Portcullis is in another namespace. They are for Envoy
// Gateway 1.9 or newer. Equal options give equal bytes.
//
// The error names every bad option and what to write instead.
func GatewayYAML(o GatewayOptions) ([]byte, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	var docs []*yaml.Node
	for _, object := range o.objects() {
		var doc yaml.Node
		if err := doc.Encode(object); err != nil {
			return nil, err
		}
		annotate(&doc, object.Kind, o.reasons())
		docs = append(docs, &doc)
	}
	return printYAML(o.preamble(), docs...)
}

func (o GatewayOptions) objects() []gatewayObject {
	all := []gatewayObject{
		o.object(extensionPolicy, o.extension()),
		o.object(clientPolicy, o.client()),
		o.object(backendPolicy, o.backend()),
	}
	if o.ServiceNamespace == o.Namespace {
		return all
	}
	return append(all, gatewayObject{
		APIVersion: gatewayGroup + "/v1beta1",
		Kind:       "ReferenceGrant",
		Metadata:   objectMeta{Name: o.Name + "-from-" + o.Namespace, Namespace: o.ServiceNamespace},
		Spec: grantSpec{
			From: []grantFrom{{Group: envoyGatewayGroup, Kind: extensionPolicy, Namespace: o.Namespace}},
			To:   []grantTo{{Kind: "Service", Name: o.Service}},
		},
	})
}

func (o GatewayOptions) object(kind string, spec any) gatewayObject {
	return gatewayObject{
		APIVersion: envoyGatewayGroup + "/v1alpha1",
		Kind:       kind,
		Metadata:   objectMeta{Name: o.Name, Namespace: o.Namespace},
		Spec:       spec,
	}
}

// gateway is the target whose listeners carry the scanned traffic.
func (o GatewayOptions) gateway() []policyTarget {
	return []policyTarget{{Group: gatewayGroup, Kind: "Gateway", Name: o.Gateway, SectionName: o.Listener}}
}

// scanned is what is scanned, and how its policies go together with those of
// the Gateway.
func (o GatewayOptions) scanned() (target []policyTarget, merge string) {
	if o.Route == "" {
		return o.gateway(), ""
	}
	return []policyTarget{{Group: gatewayGroup, Kind: o.RouteKind, Name: o.Route}}, "StrategicMerge"
}

func (o GatewayOptions) extension() extensionSpec {
	mode := legMode{Body: "FullDuplexStreamed"}
	if o.gate().profile == Buffered {
		mode.Body = "Buffered"
	}
	entry := extProcEntry{
		BackendRefs:    []backendRef{{Kind: "Service", Name: o.Service, Port: o.Port}},
		ProcessingMode: legModes{Request: mode, Response: mode},
		MessageTimeout: gatewayDuration(o.gate().timers().message),
		StatusOnError:  503,
		BackendSettings: backendSettings{
			LoadBalancer:   loadBalancer{Type: "LeastRequest"},
			CircuitBreaker: manyExchanges(),
			HTTP2: http2Settings{
				InitialStreamWindowSize:     sideWindow,
				InitialConnectionWindowSize: sideConnectionWindow,
				ConnectionKeepalive:         keepalive{Interval: "30s", Timeout: "5s"},
			},
		},
	}
	if o.ServiceNamespace != o.Namespace {
		entry.BackendRefs[0].Namespace = o.ServiceNamespace
	}
	entry.BackendSettings.Timeout.TCP.ConnectTimeout = "1s"
	entry.Metadata.WritableNamespaces = []string{metadataNamespace}
	target, merge := o.scanned()
	return extensionSpec{TargetRefs: target, MergeType: merge, ExtProc: []extProcEntry{entry}}
}

func (o GatewayOptions) client() clientSpec {
	t := o.gate().timers()
	spec := clientSpec{TargetRefs: o.gateway()}
	spec.Timeout.HTTP.StreamIdleTimeout = gatewayDuration(t.idle)
	spec.Connection.BufferLimit = int64(o.gate().connectionBuffer())
	spec.Connection.ConnectionLimit.MaxStreamDuration = gatewayDuration(t.exchange)
	spec.HTTP1.EnableTrailers = true
	return spec
}

func (o GatewayOptions) backend() backendSpec {
	target, merge := o.scanned()
	spec := backendSpec{
		TargetRefs: target, MergeType: merge,
		CircuitBreaker: manyExchanges(), HTTPUpgrade: []upgrade{{Type: noUpgrade}},
	}
	spec.Timeout.HTTP.RequestTimeout = "0s"
	return spec
}

func manyExchanges() circuitBreaker {
	return circuitBreaker{MaxConnections: maxExchanges, MaxPendingRequests: maxExchanges, MaxParallelRequests: maxExchanges}
}

// gatewayDuration prints d as the Gateway API wants it (GEP-2257): at most five
// digits a unit, no fractions; 1m30s500ms. It rounds up to milliseconds.
func gatewayDuration(d time.Duration) string {
	d = (d + time.Millisecond - 1).Truncate(time.Millisecond)
	var b strings.Builder
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / unit.d; n > 0 {
			b.WriteString(strconv.FormatInt(int64(n), 10) + unit.name)
			d %= unit.d
		}
	}
	return orDefault(b.String(), "0s")
}

func (o GatewayOptions) reasons() []reason {
	g := o.gate()
	t := g.timers()
	at := extensionPolicy + "/spec/"
	all := []reason{
		{path: at + "targetRefs", text: "What is scanned. A route's own EnvoyExtensionPolicy replaces this one, and the route is unscanned, unless it sets mergeType."},
		{path: at + "mergeType", text: "Keeps what a policy of the Gateway adds, apart from its list of extProc, which this one replaces: no body is scanned twice."},
		{path: at + "extProc/backendRefs", text: "Portcullis' Service. Envoy Gateway speaks gRPC to it whatever the port's name is."},
		{path: at + "extProc/backendSettings", text: "No retry: it would buffer and replay the body."},
		{path: at + "extProc/backendSettings/loadBalancer", text: "Exchanges differ by hours and gigabytes, so the replica with the fewest gets the next."},
		{path: at + "extProc/backendSettings/timeout", text: "Portcullis is near; unset it is 10 s."},
		{path: at + "extProc/backendSettings/circuitBreaker", text: "Every exchange holds one stream for its whole life; above the default of 1024 Envoy would fail the next. Portcullis sheds load earlier, with a better answer."},
		{path: at + "extProc/backendSettings/http2", text: "How much of one body Envoy holds for Portcullis before it stops reading from the sender, sixteen such bodies at once on a connection, and a keepalive that notices a peer which vanished without a word."},
		{path: at + "extProc/messageTimeout", text: fmt.Sprintf("Portcullis' scan timeout of %s and %s for its answer; unset it is 200 ms, and every longer scan a 504.", short(g.scan), short(slack))},
		{path: at + "extProc/failOpen", text: "Fail-open passes any failure, also one that a client can provoke, and every body when this very policy is invalid. Fail-open belongs into Portcullis' policy (fail: open), where it obeys outcome ERROR alone."},
		{path: at + "extProc/statusOnError", text: "Portcullis cannot be reached: 503 says try later; unset it would be 500."},
		{path: at + "extProc/metadata", text: "Names the one namespace that Portcullis may write, for %DYNAMIC_METADATA(portcullis:...)% in access logs; others are dropped."},
	}
	mode := "Bodies of every size stream to Portcullis, which answers nothing, the headers included, until the verdict. A leg that is left out is not scanned."
	if g.profile == Buffered {
		mode = "Envoy holds each body and sends it as one message. A leg that is left out is not scanned."
	}
	all = append(all, reason{path: at + "extProc/processingMode", text: mode})
	client := clientPolicy + "/spec/"
	all = append(all, []reason{
		{path: client + "targetRefs", text: "A Gateway obeys one ClientTrafficPolicy, the oldest: if it has one already, write these settings there."},
		{path: client + "http1", text: "Without this HTTP/1.1 trailers are dropped, and the exchange would be changed."},
	}...)
	for _, r := range append(timerReasons("", g), listenerReasons(g)...) {
		switch r.path {
		case "stream_idle_timeout":
			r.path = client + "timeout/http/streamIdleTimeout"
		case "common_http_protocol_options/max_stream_duration":
			r.path = client + "connection/connectionLimit/maxStreamDuration"
		default:
			r.path = client + "connection/bufferLimit"
			r.text = strings.ReplaceAll(r.text, "Envoy's default, written down because edge profiles lower it.", "Envoy Gateway's default is 32 KiB.")
		}
		all = append(all, r)
	}
	backend := backendPolicy + "/spec/"
	return append(all, []reason{
		{path: backend + "targetRefs", text: "A route's own BackendTrafficPolicy replaces this one unless it sets mergeType: write these settings there too."},
		{path: backend + "mergeType", text: "Keeps what a BackendTrafficPolicy of the Gateway sets."},
		{path: backend + "timeout", text: fmt.Sprintf("No time limit from here; unset it is 15 s, which run while a response is held, for up to %s. maxStreamDuration is the limit. No retry either: with a streamed body Envoy can deliver it twice.", short(t.leg))},
		{path: backend + "circuitBreaker", text: "A held response keeps its connection to the service; the default of 1024 would refuse the next."},
		{path: backend + "httpUpgrade", text: "A tunnel has no body that ends and can be judged. Envoy Gateway lets WebSockets pass unless another protocol is named, and no client upgrades to one called none: Envoy answers 403."},
		{path: "ReferenceGrant/spec", text: "Lets the policy refer to a Service in another namespace; without it every exchange is answered with 500."},
	}...)
}

// preamble says what the objects are and what they need around them.
func (o GatewayOptions) preamble() string {
	text := fmt.Sprintf("Portcullis malware gate for Envoy Gateway, profile %q. Generated by portcullis envoy-config gateway.\n", o.gate().profile)
	text += "Needs Envoy Gateway 1.9 or newer; tested with 1.9.1 and Envoy 1.40.0. Look at the status of the policies after applying them: each must be Accepted.\n"
	text += "Envoy Gateway cannot set some things that a stand-alone Envoy has:\n"
	if o.gate().profile == Duplex {
		text += "- allow_content_length_header: a body that streams goes on without its Content-Length, chunked over HTTP/1.1;\n"
	}
	text += "- forward_rules: Portcullis is sent credentials too; it neither logs nor keeps them;\n"
	text += "- initial_metadata: Portcullis' policy is chosen by its own rules."
	return text
}
