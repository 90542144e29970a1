{{- /* envoy is the container of the standalone topology. */ -}}
{{- define "portcullis.envoy" -}}
{{- $s := .Values.standalone -}}
name: envoy
image: {{ include "portcullis.image" (dict "image" $s.image "tag" "") }}
imagePullPolicy: {{ $s.image.pullPolicy }}
command: [envoy]
args: [--config-path, /etc/envoy/envoy.yaml, --disable-hot-restart, --log-level, warning]
ports:
  - {name: http, containerPort: {{ $s.port }}}
readinessProbe:
  tcpSocket: {port: http}
  periodSeconds: 5
livenessProbe:
  tcpSocket: {port: http}
  periodSeconds: 10
  failureThreshold: 6
lifecycle:
  # Envoy ends at once when it is told to; until then clients have time to look elsewhere.
  preStop: {sleep: {seconds: {{ $s.stopDelaySeconds }}}}
securityContext:
  {{- include "portcullis.containerSecurity" (dict) | nindent 2 }}
resources:
  {{- if $s.resources }}
  {{- toYaml $s.resources | nindent 2 }}
  {{- else }}
  {{- $memory := include "portcullis.mebibytes" (add (int64 (include "portcullis.bytes" $s.maxHeapBytes)) 134217728) }}
  requests: {cpu: 250m, memory: {{ $memory }}}
  limits: {memory: {{ $memory }}}
  {{- end }}
volumeMounts:
  - {name: envoy-config, mountPath: /etc/envoy, readOnly: true}
{{- end -}}

{{- /* bootstrap is the configuration of that Envoy: that of "portcullis envoy-config static" or "forward-proxy". */ -}}
{{- define "portcullis.bootstrap" -}}
{{- $s := .Values.standalone -}}
{{- $t := fromJson (include "portcullis.timers" .) -}}
{{- $forward := eq $s.mode "forward" -}}
{{- $name := ternary "portcullis-egress" "ingress" $forward -}}
static_resources:
  listeners:
    - name: {{ $name }}
      address:
        socket_address: {address: 0.0.0.0, port_value: {{ $s.port }}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: {{ $name }}
                route_config:
                  {{- if $forward }}
                  {{- include "portcullis.forwardRoutes" . | nindent 18 }}
                  {{- else }}
                  virtual_hosts:
                    - name: upstream
                      domains: ['*']
                      routes:
                        - match: {prefix: /}
                          route: {cluster: upstream, timeout: 0s}
                  {{- end }}
                http_filters:
                  {{- if $forward }}
                  - {{ include "portcullis.resolver" . | nindent 20 | trim }}
                  {{- end }}
                  - {{ include "portcullis.filter" (dict "root" . "cluster" "portcullis" "policy" $s.policy) | nindent 20 | trim }}
                  - {{ include "portcullis.router" . | nindent 20 | trim }}
                common_http_protocol_options:
                  max_stream_duration: {{ include "portcullis.seconds" $t.exchange }}
                  {{- if not $forward }}
                  headers_with_underscores_action: DROP_HEADER
                  {{- end }}
                http_protocol_options: {enable_trailers: true}
                http2_protocol_options: {max_concurrent_streams: 100, initial_stream_window_size: 1048576}
                server_header_transformation: PASS_THROUGH
                {{- if $s.accessLog }}
                access_log:
                  {{- include "portcullis.accessLog" . | nindent 18 }}
                {{- end }}
                stream_idle_timeout: {{ include "portcullis.seconds" $t.idle }}
                {{- if $forward }}
                # Without the gate: a tunnel has no body that ends and can be judged. The routes refuse all but the permitted ones.
                upgrade_configs:
                  - upgrade_type: CONNECT
                    filters:
                      {{- if $s.tunnels }}
                      - {{ include "portcullis.resolver" . | nindent 24 | trim }}
                      {{- end }}
                      - {{ include "portcullis.router" . | nindent 24 | trim }}
                {{- else }}
                normalize_path: true
                merge_slashes: true
                path_with_escaped_slashes_action: REJECT_REQUEST
                {{- end }}
      per_connection_buffer_limit_bytes: {{ include "portcullis.connectionBuffer" . }}
  clusters:
    - name: portcullis
      type: STATIC
      {{- include "portcullis.side" . | nindent 6 }}
      load_assignment:
        cluster_name: portcullis
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9100}}}}]}]
      health_checks:
        - {timeout: 1s, interval: 3s, unhealthy_threshold: 2, healthy_threshold: 1, grpc_health_check: {}, no_traffic_interval: 3s}
      circuit_breakers: {thresholds: [{max_connections: 8192, max_pending_requests: 8192, max_requests: 8192}]}
    {{- if $forward }}
    - name: anywhere
      cluster_type:
        name: envoy.clusters.dynamic_forward_proxy
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
          dns_cache_config:
            {{- include "portcullis.names" . | nindent 12 }}
      lb_policy: CLUSTER_PROVIDED
    {{- else }}
    {{- $host := regexReplaceAll ":[0-9]+$" $s.upstream "" | trimPrefix "[" | trimSuffix "]" }}
    - name: upstream
      type: {{ ternary "STATIC" "STRICT_DNS" (or (contains ":" $host) (regexMatch "^[0-9.]+$" $host)) }}
      load_assignment:
        cluster_name: upstream
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{ $host | quote }}, port_value: {{ regexFind "[0-9]+$" $s.upstream }}}}}}]}]
    {{- end }}
      circuit_breakers: {thresholds: [{max_connections: 8192, max_pending_requests: 8192, max_requests: 8192}]}
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          {{- if $forward }}
          upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}
          {{- end }}
          explicit_http_config:
            {{- if and (not $forward) $s.upstreamHTTP2 }}
            http2_protocol_options: {initial_stream_window_size: 1048576}
            {{- else }}
            http_protocol_options: {enable_trailers: true}
            {{- end }}
overload_manager:
  resource_monitors:
    - name: envoy.resource_monitors.fixed_heap
      typed_config:
        '@type': type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
        max_heap_size_bytes: {{ include "portcullis.bytes" $s.maxHeapBytes | quote }}
  actions:
    - name: envoy.overload_actions.shrink_heap
      triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.92}}]
    - name: envoy.overload_actions.stop_accepting_requests
      triggers: [{name: envoy.resource_monitors.fixed_heap, threshold: {value: 0.95}}]
{{- end -}}

{{- define "portcullis.router" -}}
name: envoy.filters.http.router
typed_config:
  '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  suppress_envoy_headers: true
{{- end -}}

{{- define "portcullis.accessLog" -}}
- name: envoy.access_loggers.file
  typed_config:
    '@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: /dev/stdout
    log_format:
      json_format:
        time: '%START_TIME%'
        method: '%REQ(:METHOD)%'
        path: '%PATH(NQ)%'
        protocol: '%PROTOCOL%'
        status: '%RESPONSE_CODE%'
        details: '%RESPONSE_CODE_DETAILS%'
        flags: '%RESPONSE_FLAGS%'
        bytes_in: '%BYTES_RECEIVED%'
        bytes_out: '%BYTES_SENT%'
        duration_ms: '%DURATION%'
        request_id: '%REQ(X-REQUEST-ID)%'
        portcullis: '%DYNAMIC_METADATA(portcullis)%'
{{- end -}}
