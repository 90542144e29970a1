{{- /* refuse ends the rendering where values contradict each other; what is wrong by itself values.schema.json refuses. */ -}}
{{- define "portcullis.refuse" -}}
{{- $v := .Values -}}
{{- $e := $v.engines -}}
{{- if not (or $e.builtin.enabled $e.clamd.enabled $e.cloudmersive.enabled $e.icap.enabled $v.config.engines) -}}
{{- fail "engines: none is enabled; a gate without an engine judges nothing" -}}
{{- end -}}
{{- if and $e.builtin.enabled (ne (empty $e.builtin.hashLists.configMap) (empty $e.builtin.hashLists.files)) -}}
{{- fail "engines.builtin.hashLists: give both configMap and files" -}}
{{- end -}}
{{- if and $e.clamd.enabled (eq $e.clamd.deployment "external") (empty $e.clamd.addresses) -}}
{{- fail "engines.clamd.addresses: is missing; deployment external needs the addresses of your daemons" -}}
{{- end -}}
{{- if and $e.clamd.enabled (ne $e.clamd.deployment "external") $e.clamd.addresses -}}
{{- fail "engines.clamd.addresses: is for deployment external; the chart writes the addresses of its own daemons" -}}
{{- end -}}
{{- if and $e.clamd.enabled (ne $e.clamd.deployment "external") (gt (int64 (include "portcullis.maxBody" .)) 1000000000) -}}
{{- fail "config.policies: a max_body_bytes is over 1000000000, which is more than clamd scans; lower it" -}}
{{- end -}}
{{- if and $e.cloudmersive.enabled (not $e.cloudmersive.existingSecret) -}}
{{- fail "engines.cloudmersive.existingSecret: is missing; make a Secret with the API key and name it here" -}}
{{- end -}}
{{- if and $e.icap.enabled (not $e.icap.settings.url) -}}
{{- fail "engines.icap.settings.url: is missing, such as icap://icap.example.net:1344/avscan" -}}
{{- end -}}
{{- if and (ne $v.mesh "none") (ne $v.topology "central") -}}
{{- fail (printf "mesh: %s needs topology central: its Envoys reach Portcullis through a Service" $v.mesh) -}}
{{- end -}}
{{- if and (eq $v.mesh "istio") (empty $v.istio.workloads) -}}
{{- fail "istio.workloads: is empty; name the workloads and gateways that shall get the gate" -}}
{{- end -}}
{{- if and (eq $v.mesh "envoyGateway") (empty $v.envoyGateway.targets) -}}
{{- fail "envoyGateway.targets: is empty; name the Gateways or HTTPRoutes that shall get the gate" -}}
{{- end -}}
{{- range $v.istio.workloads -}}
{{- if eq (empty .selector) (empty .targetGateway) -}}
{{- fail (printf "istio.workloads: %s needs either a selector or a targetGateway; without one the filter would stand before every pod of %s" .name .namespace) -}}
{{- end -}}
{{- if and .skip .only -}}
{{- fail (printf "istio.workloads: %s has skip and only; what only does not list is not scanned, so there is nothing to skip" .name) -}}
{{- end -}}
{{- if and .targetGateway (not .gateway) -}}
{{- fail (printf "istio.workloads: %s has a targetGateway and so needs gateway: true" .name) -}}
{{- end -}}
{{- end -}}
{{- range $v.envoyGateway.targets -}}
{{- if and .listener .route -}}
{{- fail (printf "envoyGateway.targets: %s has a listener and a route; a route is scanned on every listener" .name) -}}
{{- end -}}
{{- if and .routeKind (not .route) -}}
{{- fail (printf "envoyGateway.targets: %s has a routeKind and no route" .name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.mesh "envoyGateway") (eq $v.profile "adaptive") -}}
{{- fail "profile: Envoy Gateway cannot bound what adaptive may choose; take duplex" -}}
{{- end -}}
{{- if and (ne $v.tls.mode "none") (ne $v.mesh "none") -}}
{{- fail "tls: in a mesh the mesh encrypts; leave tls.mode at none" -}}
{{- end -}}
{{- if and (ne $v.tls.mode "none") (ne $v.topology "central") -}}
{{- fail (printf "tls: topology %s listens on loopback, where Envoy is in the same pod; leave tls.mode at none" $v.topology) -}}
{{- end -}}
{{- if and (eq $v.tls.mode "existingSecret") (not $v.tls.secretName) -}}
{{- fail "tls.secretName: is missing; name the Secret with tls.crt and tls.key" -}}
{{- end -}}
{{- if and (eq $v.tls.mode "certManager") (not $v.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name: is missing; name an Issuer or ClusterIssuer of cert-manager" -}}
{{- end -}}
{{- if and $v.tls.clientSpiffeIDs (not $v.tls.verifyClients) -}}
{{- fail "tls.clientSpiffeIDs: needs tls.verifyClients; without it nobody is asked for a certificate" -}}
{{- end -}}
{{- if and $v.tls.clientSpiffeIDs $v.tests.enabled (not $v.tests.tlsSecret) -}}
{{- fail "tests.tlsSecret: is missing; the gate's own certificate is not on the list tls.clientSpiffeIDs, so helm test needs another" -}}
{{- end -}}
{{- if and (eq $v.topology "standalone") (eq $v.standalone.mode "reverse") (not $v.standalone.upstream) -}}
{{- fail "standalone.upstream: is missing; give host:port of the service behind the gate" -}}
{{- end -}}
{{- if and (eq $v.topology "standalone") (lt (int64 (include "portcullis.bytes" $v.standalone.maxHeapBytes)) 67108864) -}}
{{- fail "standalone.maxHeapBytes: is less than Envoy needs to start; give 64Mi or more" -}}
{{- end -}}
{{- include "portcullis.refuseNames" . -}}
{{- if and (eq $v.profile "buffered") (gt (int64 (include "portcullis.bytes" $v.bufferedMaxBodyBytes)) 268435456) -}}
{{- fail "bufferedMaxBodyBytes: at most 256Mi can be buffered; take the duplex profile for larger bodies" -}}
{{- end -}}
{{- $drain := fromJson (include "portcullis.drain" .) -}}
{{- with $v.terminationGracePeriodSeconds -}}
{{- if le (mul 1000 (int64 .)) (add (int64 $drain.grace) (int64 $drain.timeout)) -}}
{{- fail "terminationGracePeriodSeconds: is not longer than config.drain.grace and config.drain.timeout together; exchanges would be killed" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* refuseNames ends the rendering where a name leads nowhere: the pods would not start, or refuse everything. */ -}}
{{- define "portcullis.refuseNames" -}}
{{- $v := .Values -}}
{{- $engines := list -}}
{{- range fromYamlArray (include "portcullis.engines" .) -}}
{{- $engines = append $engines .name -}}
{{- end -}}
{{- $policies := list -}}
{{- range $v.config.policies -}}
{{- $policies = append $policies .name -}}
{{- $policy := .name -}}
{{- range .engines -}}
{{- if not (has . $engines) -}}
{{- fail (printf "config.policies: %s uses an engine %s, which is not set up; there are %s" $policy . (join ", " $engines)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $policies = default (list "default") $policies -}}
{{- $named := list (dict "where" "standalone" "policy" (ternary $v.standalone.policy "" (eq $v.topology "standalone"))) -}}
{{- range $v.config.rules -}}
{{- $named = append $named (dict "where" "config.rules" "policy" .policy) -}}
{{- end -}}
{{- if eq $v.mesh "istio" -}}
{{- range $v.istio.workloads -}}
{{- $named = append $named (dict "where" (printf "istio.workloads: %s" .name) "policy" .policy) -}}
{{- end -}}
{{- end -}}
{{- range $named -}}
{{- if and .policy (not (has .policy $policies)) -}}
{{- fail (printf "%s: names the policy %s, which config.policies does not have; there are %s" .where .policy (join ", " $policies)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
