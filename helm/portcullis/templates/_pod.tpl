{{- /* besides are the native sidecars in the order in which they start; they stop in reverse. */ -}}
{{- define "portcullis.besides" -}}
{{- if include "portcullis.clamdBeside" . }}
{{- if .Values.engines.clamd.freshclam.enabled }}
- {{ include "portcullis.freshclam" (dict "root" . "always" true) | indent 2 | trim }}
{{- end }}
- {{ include "portcullis.clamd" (dict "root" . "always" true) | indent 2 | trim }}
{{- end }}
{{- if ne .Values.topology "central" }}
- {{ include "portcullis.gate" (dict "root" . "always" true) | indent 2 | trim }}
{{- end }}
{{- end -}}

{{- /* placement is what every pod of the chart has: identity, security, and where it may run. */ -}}
{{- define "portcullis.placement" -}}
serviceAccountName: {{ include "portcullis.serviceAccount" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- $base := dict "runAsNonRoot" true "fsGroup" 65532 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- toYaml (merge (deepCopy .root.Values.podSecurityContext) $base) | nindent 2 }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .root.Values.topologySpread }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $.selector | nindent 8 }}
  {{- end }}
{{- end }}
{{- end -}}
