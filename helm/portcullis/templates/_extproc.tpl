{{- /*
What follows is what "portcullis envoy-config" prints, with the reasons beside each setting there; a test holds them together.
*/ -}}

{{- /* filter is the external-processing filter; .cluster is where Portcullis is, .policy the policy for all traffic. */ -}}
{{- define "portcullis.filter" -}}
{{- $v := .root.Values -}}
{{- $t := fromJson (include "portcullis.timers" .root) -}}
{{- $adaptive := eq $v.profile "adaptive" -}}
name: portcullis
typed_config:
  '@type': type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
  grpc_service:
    envoy_grpc:
      cluster_name: {{ .cluster }}
    {{- if or .policy $adaptive }}
    initial_metadata:
      {{- with .policy }}
      - {key: x-portcullis-policy, value: {{ . | quote }}}
      {{- end }}
      {{- if $adaptive }}
      - {key: x-portcullis-adaptive, value: "1048576"}
      {{- end }}
    {{- end }}
  processing_mode:
    {{- $mode := get (dict "duplex" "FULL_DUPLEX_STREAMED" "buffered" "BUFFERED" "adaptive" "NONE") $v.profile }}
    {{- include "portcullis.mode" (dict "request" $mode "response" $mode) | nindent 4 }}
  message_timeout: {{ include "portcullis.seconds" $t.message }}
  max_message_timeout: {{ include "portcullis.seconds" $t.maxMessage }}
  forward_rules:
    disallowed_headers:
      patterns: [{exact: authorization}, {exact: proxy-authorization}, {exact: cookie}, {exact: set-cookie}]
  metadata_options:
    receiving_namespaces: {untyped: [portcullis]}
  status_on_error: {code: ServiceUnavailable}
  failure_mode_allow: false
  {{- if ne $v.profile "buffered" }}
  allow_content_length_header: true
  {{- end }}
  {{- if $adaptive }}
  allow_mode_override: true
  allowed_override_modes:
    {{- range $request := list "NONE" "BUFFERED" "FULL_DUPLEX_STREAMED" }}
    {{- range $response := list "NONE" "FULL_DUPLEX_STREAMED" }}
    - {{ include "portcullis.mode" (dict "request" $request "response" $response) | nindent 6 | trim }}
    {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "portcullis.mode" -}}
request_header_mode: SEND
response_header_mode: SEND
request_body_mode: {{ .request }}
response_body_mode: {{ .response }}
request_trailer_mode: SEND
response_trailer_mode: SEND
{{- end -}}

{{- /* connectionBuffer is the buffer limit of a listener that carries scanned traffic. */ -}}
{{- define "portcullis.connectionBuffer" -}}
{{- $limit := 1048576 -}}
{{- if eq .Values.profile "buffered" -}}
{{- $limit = max $limit (int64 (include "portcullis.bytes" .Values.bufferedMaxBodyBytes)) -}}
{{- end -}}
{{- $limit -}}
{{- end -}}

{{- /* side is how Envoy speaks to Portcullis. */ -}}
{{- define "portcullis.side" -}}
connect_timeout: 1s
lb_policy: LEAST_REQUEST
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config:
      http2_protocol_options:
        initial_stream_window_size: 262144
        initial_connection_window_size: 4194304
        connection_keepalive: {interval: 30s, timeout: 5s}
{{- end -}}
