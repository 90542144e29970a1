{{- /* gate is the container of Portcullis; .always makes it a native sidecar, which starts before and stops after the others. */ -}}
{{- define "portcullis.gate" -}}
{{- $root := .root -}}
{{- $v := .root.Values -}}
name: portcullis
image: {{ include "portcullis.image" (dict "image" $v.image "tag" $root.Chart.AppVersion) }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args: [serve, --config, /etc/portcullis/portcullis.yaml]
{{- if .always }}
restartPolicy: Always
{{- end }}
{{- with $v.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- if eq $v.topology "central" }}
  - {name: grpc, containerPort: 9100}
  {{- end }}
  - {name: admin, containerPort: 9101}
# Long hash lists take their time to read.
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  failureThreshold: 120
# Never depends on an engine: a restart of the gate mends none.
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 5
securityContext:
  {{- include "portcullis.containerSecurity" (dict) | nindent 2 }}
resources:
  {{- if $v.resources }}
  {{- toYaml $v.resources | nindent 2 }}
  {{- else }}
  {{- $memory := include "portcullis.mebibytes" (add (int64 (include "portcullis.bytes" $v.config.spool.memory_bytes)) 134217728) }}
  requests: {cpu: 250m, memory: {{ $memory }}}
  limits: {memory: {{ $memory }}}
  {{- end }}
volumeMounts:
  - {name: portcullis-config, mountPath: /etc/portcullis, readOnly: true}
  - {name: portcullis-spool, mountPath: /var/lib/portcullis/spool}
  {{- if ne $v.tls.mode "none" }}
  - {name: portcullis-tls, mountPath: /run/secrets/portcullis/tls, readOnly: true}
  {{- end }}
  {{- if $v.engines.cloudmersive.enabled }}
  - {name: portcullis-cloudmersive, mountPath: /run/secrets/portcullis/cloudmersive, readOnly: true}
  {{- end }}
  {{- range $v.secretMounts }}
  - {name: secret-{{ .name }}, mountPath: /run/secrets/portcullis/{{ .name }}, readOnly: true}
  {{- end }}
  {{- if include "portcullis.clamdBeside" $root }}
  - {name: clamav-run, mountPath: /run/clamav}
  {{- end }}
  {{- with $v.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* volumes are those that the containers of Portcullis and of a clamd beside it need. */ -}}
{{- define "portcullis.volumes" -}}
{{- $name := include "portcullis.fullname" . -}}
{{- $v := .Values -}}
- name: portcullis-config
  projected:
    sources:
      - configMap: {name: {{ $name }}, items: [{key: portcullis.yaml, path: portcullis.yaml}]}
      {{- with $v.engines.builtin }}
      {{- if and .enabled .hashLists.configMap }}
      - configMap:
          name: {{ .hashLists.configMap }}
          items:
            {{- range .hashLists.files }}
            - {key: {{ . }}, path: hash-lists/{{ . }}}
            {{- end }}
      {{- end }}
      {{- end }}
- name: portcullis-spool
  emptyDir:
    # Above config.spool.disk_bytes: a pod that writes more is evicted with everything it holds.
    {{- $disk := int64 (include "portcullis.bytes" (default "10Gi" $v.config.spool.disk_bytes)) }}
    sizeLimit: {{ include "portcullis.mebibytes" (add $disk (div $disk 10) 67108864) }}
{{- if ne $v.tls.mode "none" }}
- name: portcullis-tls
  secret: {secretName: {{ include "portcullis.tlsSecret" . }}}
{{- end }}
{{- with $v.engines.cloudmersive }}
{{- if .enabled }}
- name: portcullis-cloudmersive
  secret: {secretName: {{ .existingSecret }}, items: [{key: {{ .secretKey }}, path: {{ .secretKey }}}]}
{{- end }}
{{- end }}
{{- range $v.secretMounts }}
- name: secret-{{ .name }}
  secret: {secretName: {{ .secretName }}}
{{- end }}
{{- if include "portcullis.clamdBeside" . }}
{{ include "portcullis.clamdVolumes" (dict "root" . "claim" $v.engines.clamd.database.existingClaim) }}
- name: clamav-run
  emptyDir: {sizeLimit: 1Mi}
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
