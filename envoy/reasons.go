package envoy

import (
	"fmt"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// reasons explains every setting of a stand-alone Envoy.
func (o Options) reasons() []reason {
	options := upstreamCluster + "/typed_extension_protocol_options/" + httpOptionsKey + "/explicit_http_config/"
	return append(o.commonReasons(), []reason{
		{path: "common_http_protocol_options/headers_with_underscores_action", text: "Some services read Content_Type as Content-Type and X_Portcullis_Verdict as the header that only Portcullis may set. Envoy drops such headers, as nginx does; rejecting them cuts the connection without an answer."},
		{path: "normalize_path", text: "Rules choose a policy by the path, so a path has one spelling: /healthz/../upload is /upload;"},
		{path: "merge_slashes", text: "//upload is /upload;"},
		{path: "path_with_escaped_slashes_action", text: "and %2F in a path, which only some services decode, is answered with 400."},
		{path: "routes/route/timeout", text: routeTimeoutReason},
		{path: upstreamCluster + "/circuit_breakers", text: "A held response keeps its connection to the service; the default of 1024 would refuse the next."},
		{path: options + "http_protocol_options/enable_trailers", text: "HTTP/1.1 trailers pass on this side too."},
		{path: options + "http2_protocol_options", text: "HTTP/2 without TLS, as gRPC needs it."},
		{path: options + "http2_protocol_options/initial_stream_window_size", text: "What the service may send of one body while it has to wait; unset it is 16 MiB."},
	}...)
}

const routeTimeoutReason = "No time limit from here: it would run while a response is held. max_stream_duration is the limit. There is no retry_policy either: with a streamed body Envoy can deliver it twice."

// commonReasons explains what every Envoy of its own has.
func (o Options) commonReasons() []reason {
	g := o.gate()
	all := filterReasons(filterName+"/typed_config/", g)
	all = append(all, timerReasons(hcmName+"/typed_config/", g)...)
	all = append(all, sideReasons(processorCluster+"/")...)
	all = append(all, listenerReasons(g)...)
	return append(all, []reason{
		{path: hcmName + "/typed_config/http_protocol_options/enable_trailers", text: "Without this HTTP/1.1 trailers are dropped, and the exchange would be changed."},
		{path: hcmName + "/typed_config/http2_protocol_options/max_concurrent_streams", text: "One client connection holds no more bodies than this at a time."},
		{path: hcmName + "/typed_config/http2_protocol_options/initial_stream_window_size", text: "What a client may send of one body while it has to wait; unset it is 16 MiB."},
		{path: "server_header_transformation", text: "The service's own Server header reaches the client unchanged."},
		{path: routerName + "/typed_config/suppress_envoy_headers", text: "Adds no x-envoy-* headers to what passes."},
		{path: "access_log", text: "One JSON line an exchange; the query is left out, because it may hold secrets."},
		{path: "json_format/" + metadataNamespace, text: "The verdict, as Portcullis reported it."},
		{path: "admin", text: "Anyone who reaches this address can stop Envoy and read its configuration: keep it on the loopback interface."},
		{path: "overload_manager", text: "A released body waits in Envoy for a slow receiver, and nothing else bounds that. Near its limit Envoy gives memory back (92 %), then refuses requests (95 %)."},
	}...)
}

func initialMetadataReason(g gate) string {
	policy := "The policy for all traffic of this filter. A name that Portcullis does not know is refused, not ignored."
	adaptive := "Tells Portcullis that this filter obeys mode overrides, and how many bytes of a request it can buffer. Without it a body that Envoy does not send is refused."
	switch {
	case g.profile != Adaptive:
		return policy
	case g.policy == "":
		return adaptive
	}
	return adaptive + " " + policy
}

// filterReasons explains the filter itself; at is the path of its settings.
func filterReasons(at string, g gate) []reason {
	t := g.timers()
	all := []reason{
		{path: at + "grpc_service", text: "envoy_grpc, because google_grpc has no flow control and would hold bodies without bound. No retry_policy: it would buffer and replay the body. No timeout: the exchange is as long as its bodies."},
		{path: at + "grpc_service/initial_metadata", text: initialMetadataReason(g)},
		{path: at + "failure_mode_allow", shown: "false", text: "Envoy's fail-open passes any failure, also one that a client can provoke. Fail-open belongs into Portcullis' policy (fail: open), where it obeys outcome ERROR alone."},
		{path: at + "status_on_error", text: "Portcullis cannot be reached: 503 says try later; unset it would be 500."},
		{path: at + "max_message_timeout", text: fmt.Sprintf("Lets Portcullis ask for more time, up to %s; unset it may not.", short(t.maxMessage))},
		{path: at + "forward_rules", text: "No scan needs credentials, so Portcullis does not get them; the service and the client still do."},
		{path: at + "metadata_options", text: "Names the one namespace that Portcullis may write, for %DYNAMIC_METADATA(portcullis:...)% in access logs; others are dropped."},
	}
	message := reason{path: at + "message_timeout", text: fmt.Sprintf("Portcullis' scan timeout of %s and %s for its answer; unset it is 200 ms, and every longer scan a 504.", short(g.scan), short(slack))}
	mode := reason{path: at + "processing_mode"}
	length := reason{path: at + "allow_content_length_header", text: "Content-Length stays, so that no body becomes chunked. Portcullis never changes a body, and checks before the release that it echoes as many bytes as were declared."}
	switch g.profile {
	case Duplex:
		message.text = fmt.Sprintf("Envoy keeps no timer on a duplex leg; Portcullis owns the deadline. This one is for a route that overrides the mode: the scan timeout of %s and %s.", short(g.scan), short(slack))
		mode.text = "Bodies of every size stream to Portcullis, which answers nothing, the headers included, until the verdict. Headers are sent or they would leave before it; trailers are sent because they end a body."
		return append(all, message, mode, length)
	case Buffered:
		mode.text = "Envoy holds each body and sends it as one message; headers are sent or they would leave before the verdict, trailers so that they are held too."
		return append(all, message, mode)
	case Adaptive:
	}
	mode.text = "No body is sent unless Portcullis asks for it at the request headers, for either leg. Only NONE can be the base: Envoy ignores overrides of a duplex leg, and a buffered one overflows before the answer."
	for _, modes := range []string{"processing_mode", "allowed_override_modes"} {
		for _, leg := range []string{"/request_body_mode", "/response_body_mode"} {
			all = append(all, reason{path: at + modes + leg, shown: extprocv3.ProcessingMode_NONE.String()})
		}
	}
	return append(all, message, mode, length,
		reason{path: at + "allow_mode_override", text: "Portcullis chooses the mode of each exchange; it refuses the exchange when Envoy does not obey."},
		reason{path: at + "allowed_override_modes", text: "The only choices: no STREAMED or BUFFERED_PARTIAL, which let bytes go unjudged; trailers always; no buffered response, because its length is not known when the choice is made."},
	)
}

// timerReasons explains the connection manager's timers.
func timerReasons(at string, g gate) []reason {
	t := g.timers()
	return []reason{
		{path: at + "stream_idle_timeout", text: fmt.Sprintf("A held leg is silent for as long as it is held: Portcullis' upload timeout (%s), scan timeout (%s) and %s for the answer, and some seconds more, so that Portcullis is the first to answer.", short(g.upload), short(g.scan), short(slack))},
		{path: at + "common_http_protocol_options/max_stream_duration", text: fmt.Sprintf("The last resort, and the only timer left once Portcullis holds an answer of Envoy's own: four times the %s of one leg, for two legs, an origin that thinks and a client that reads slowly.", short(t.leg))},
	}
}

// sideReasons explains how Envoy speaks to Portcullis.
func sideReasons(at string) []reason {
	h2 := at + "typed_extension_protocol_options/" + httpOptionsKey + "/explicit_http_config/http2_protocol_options"
	return []reason{
		{path: at + "connect_timeout", text: "Portcullis is near; unset it is 5 s."},
		{path: at + "lb_policy", text: "Exchanges differ by hours and gigabytes, so the replica with the fewest gets the next."},
		{path: at + "health_checks", text: "gRPC health of the whole service: a replica that drains gets no new exchange."},
		{path: at + "health_checks/no_traffic_interval", text: "Envoy may start before Portcullis; unset it would look again after a minute."},
		{path: at + "circuit_breakers", text: "Every exchange holds one stream for its whole life; above the default of 1024 Envoy would fail the next. Portcullis sheds load earlier, with a better answer."},
		{path: h2, text: "gRPC is HTTP/2; without this every exchange fails."},
		{path: h2 + "/initial_stream_window_size", text: "How much of one body Envoy holds for Portcullis before it stops reading from the sender; unset it is 16 MiB an exchange."},
		{path: h2 + "/initial_connection_window_size", text: "Sixteen such bodies at once on a connection."},
		{path: h2 + "/connection_keepalive", text: "Notices a peer that vanished without a word, when nothing else would."},
	}
}

func listenerReasons(g gate) []reason {
	r := reason{path: "per_connection_buffer_limit_bytes", text: "How much of a body Envoy buffers while it waits. Envoy's default, written down because edge profiles lower it."}
	switch g.profile {
	case Buffered:
		r.text = "The largest body that can be buffered: Envoy answers a larger request with 413, a larger response with 500. It must not exceed what Portcullis receives in one message."
	case Adaptive:
		r.text = "The largest request that Portcullis may choose to buffer. Envoy's default, written down because edge profiles lower it."
	case Duplex:
	}
	return []reason{r}
}

// staticPreamble says what the file is and what is left out on purpose.
func staticPreamble(o Options) string {
	text := fmt.Sprintf("Envoy with the Portcullis malware gate, profile %q. Needs Envoy 1.38 or newer; tested with 1.40.0.\n", o.gate().profile)
	text += "Generated by: portcullis envoy-config static. Settings without a comment say what is where.\n"
	text += "Left out on purpose: upgrade_configs and CONNECT, because a tunnel has no body that ends and can be judged (Envoy answers 403);\n"
	text += "retry_policy, because Envoy can deliver a streamed body twice; proxy_100_continue, because a held exchange would hold the 100 too."
	return text
}

func istioReasons() []reason {
	return []reason{
		{path: "workloadSelector", text: "Only these pods. Without it the filter would stand before every pod of the namespace, or in the root namespace of the mesh, and before Portcullis itself."},
		{path: "targetRefs", text: "Only this gateway."},
		{path: "priority", text: "After the EnvoyFilters that have none, so that their filters stand before the gate."},
	}
}

// istioPreamble says what the object is and what it needs around it.
func istioPreamble(o IstioOptions) string {
	text := fmt.Sprintf("Portcullis malware gate for Istio, profile %q. Generated by portcullis envoy-config istio.\n", o.gate().profile)
	text += "It needs:\n"
	text += "- Envoy 1.38 or newer in the pods; older ones drop Content-Length of streamed bodies, which then arrive chunked;\n"
	text += fmt.Sprintf("- the port %d of Service %s in namespace %s with the name grpc and appProtocol: grpc, or Istio takes it for plain TCP and every exchange fails;\n", o.Port, o.Service, o.ServiceNamespace)
	text += "- no retries on the scanned routes (VirtualService retries: {attempts: 0}, or meshConfig.defaultHttpRetryPolicy): Envoy can deliver a streamed body twice;\n"
	text += fmt.Sprintf("- no VirtualService timeout of %s or less on them: it runs while a response is held;\n", short(o.gate().timers().leg))
	text += "- no other EnvoyFilter that puts the gate into the same pods: bodies would be scanned twice."
	return text
}

// short prints a duration without the zeros of [time.Duration.String].
func short(d time.Duration) string {
	switch {
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d%time.Second == 0 && d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d%time.Second == 0:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return d.String()
}
