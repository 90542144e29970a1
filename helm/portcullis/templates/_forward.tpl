{{- /* What a forward proxy has beside the rest: it looks up whatever host a client asks for, and refuses what it cannot see. */ -}}

{{- define "portcullis.resolver" -}}
name: envoy.filters.http.dynamic_forward_proxy
typed_config:
  '@type': type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig
  dns_cache_config:
    {{- include "portcullis.names" . | nindent 4 }}
{{- end -}}

{{- define "portcullis.names" -}}
name: anywhere
dns_lookup_family: ALL
max_hosts: 8192
{{- if not .Values.standalone.allowLocal }}
# Nothing leads to this pod and its node's link, where admin interfaces and a cloud's credentials are.
resolved_address_filter:
  ranges:
    - {address_prefix: 0.0.0.0, prefix_len: 8}
    - {address_prefix: 127.0.0.0, prefix_len: 8}
    - {address_prefix: 169.254.0.0, prefix_len: 16}
    - {address_prefix: '::', prefix_len: 128}
    - {address_prefix: '::1', prefix_len: 128}
    - {address_prefix: 'fe80::', prefix_len: 10}
    - {address_prefix: '::ffff:0.0.0.0', prefix_len: 96}
{{- end }}
{{- end -}}

{{- define "portcullis.forwardRoutes" -}}
virtual_hosts:
  - name: anywhere
    domains: ['*']
    routes:
      - name: connect
        match: {connect_matcher: {}}
        direct_response:
          status: 403
          body:
            inline_string: |
              CONNECT is refused: nothing can scan what passes through a tunnel, and https:// URLs need one.
              Ask for an http:// URL, or have the proxy's administrator permit this host as an unscanned tunnel.
      {{- include "portcullis.forwardCommon" . | nindent 6 }}
  {{- with .Values.standalone.tunnels }}
  - name: tunnels
    domains:
      {{- toYaml . | nindent 6 }}
    routes:
      # An opaque tunnel to one of these hosts: not scanned, on purpose.
      - name: connect
        match: {connect_matcher: {}}
        route:
          cluster: anywhere
          timeout: 0s
          upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
          max_stream_duration: {max_stream_duration: 0s}
      {{- include "portcullis.forwardCommon" $ | nindent 6 }}
  {{- end }}
request_headers_to_add:
  - header: {key: via, value: 1.1 portcullis-egress}
request_headers_to_remove: [proxy-authorization, x-portcullis-verdict]
{{- end -}}

{{- define "portcullis.forwardCommon" -}}
- name: came-back
  match: {prefix: /, headers: [{name: via, string_match: {contains: portcullis-egress}}]}
  direct_response:
    status: 508
    body:
      inline_string: |
        This request came back to the proxy that sent it: the address that was asked for is the proxy's own.
- name: https
  match: {prefix: /, headers: [{name: ':scheme', string_match: {exact: https}}]}
  direct_response:
    status: 501
    body:
      inline_string: |
        An https:// URL cannot be fetched in this way; clients ask for it by CONNECT.
- name: everything
  match: {prefix: /}
  route: {cluster: anywhere, timeout: 0s}
{{- end -}}
