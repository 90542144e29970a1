{{- /* Not empty when clamd runs in the pods of Portcullis. */ -}}
{{- define "portcullis.clamdBeside" -}}
{{- if and .Values.engines.clamd.enabled (eq .Values.engines.clamd.deployment "sidecar") -}}
yes
{{- end -}}
{{- end -}}

{{- /* clamd is its container; .always makes it a native sidecar, which outlives the scans of a pod that stops. */ -}}
{{- define "portcullis.clamd" -}}
{{- $c := .root.Values.engines.clamd -}}
name: clamd
image: {{ include "portcullis.image" (dict "image" $c.image "tag" "") }}
imagePullPolicy: {{ $c.image.pullPolicy }}
command: [sh, -c]
args:
  {{- if $c.freshclam.enabled }}
  # A clamd without the whole database would call clean what it cannot know; until then Portcullis answers engine-unreachable.
  - trap 'exit 0' TERM; cd /var/lib/clamav; for db in main daily bytecode; do until [ -e $db.cvd ] || [ -e $db.cld ]; do sleep 1; done; done; exec clamd --config-file=/etc/clamav/clamd.conf
  {{- else }}
  - exec clamd --config-file=/etc/clamav/clamd.conf
  {{- end }}
{{- if .always }}
restartPolicy: Always
{{- end }}
{{- if eq $c.deployment "service" }}
ports:
  - {name: clamd, containerPort: 3310}
readinessProbe:
  tcpSocket: {port: clamd}
  periodSeconds: 5
{{- end }}
livenessProbe:
  exec: {command: [clamdscan, --config-file=/etc/clamav/clamd.conf, "--ping=5:5"]}
  initialDelaySeconds: 600
  periodSeconds: 60
  timeoutSeconds: 30
securityContext:
  {{- include "portcullis.containerSecurity" (dict "user" $c.runAsUser) | nindent 2 }}
resources:
  {{- toYaml $c.resources | nindent 2 }}
volumeMounts:
  - {name: clamav-config, mountPath: /etc/clamav, readOnly: true}
  - {name: clamav-database, mountPath: /var/lib/clamav}
  - {name: clamav-tmp, mountPath: /var/tmp/clamav}
  {{- if eq $c.deployment "sidecar" }}
  - {name: clamav-run, mountPath: /run/clamav}
  {{- end }}
{{- end -}}

{{- define "portcullis.freshclam" -}}
{{- $c := .root.Values.engines.clamd -}}
name: freshclam
image: {{ include "portcullis.image" (dict "image" $c.image "tag" "") }}
imagePullPolicy: {{ $c.image.pullPolicy }}
command: [freshclam]
args: [--daemon, --foreground, --stdout, --config-file=/etc/clamav/freshclam.conf]
{{- if .always }}
restartPolicy: Always
{{- end }}
securityContext:
  {{- include "portcullis.containerSecurity" (dict "user" $c.runAsUser) | nindent 2 }}
resources:
  {{- toYaml $c.freshclam.resources | nindent 2 }}
volumeMounts:
  - {name: clamav-config, mountPath: /etc/clamav, readOnly: true}
  - {name: clamav-database, mountPath: /var/lib/clamav}
  {{- if eq $c.deployment "sidecar" }}
  - {name: clamav-run, mountPath: /run/clamav}
  {{- end }}
{{- end -}}

{{- define "portcullis.clamdVolumes" -}}
{{- $c := .root.Values.engines.clamd -}}
- name: clamav-config
  configMap:
    name: {{ include "portcullis.fullname" .root }}-clamd
- name: clamav-tmp
  emptyDir:
    # What clamd unpacks: for each thread twice the largest body.
    {{- $threads := add 2 (default 8 $c.settings.max_in_flight) }}
    sizeLimit: {{ include "portcullis.mebibytes" (mul 2 $threads (int64 (include "portcullis.maxBody" .root))) }}
{{- if .claim }}
- name: clamav-database
  persistentVolumeClaim: {claimName: {{ .claim }}}
{{- else if not .template }}
- name: clamav-database
  emptyDir: {sizeLimit: {{ $c.database.size }}}
{{- end }}
{{- end -}}
