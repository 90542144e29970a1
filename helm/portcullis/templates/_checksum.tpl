{{- /*
checksum changes with what the processes of a pod cannot take while they run: Portcullis most of its file, clamd and Envoy anything.
Empty: nothing is to be restarted.
*/ -}}
{{- define "portcullis.checksum" -}}
{{- $c := fromYaml (include "portcullis.config" .) -}}
{{- $all := list -}}
{{- if eq .Values.rollOnConfigChange "always" -}}
{{- $all = append $all $c -}}
{{- else if eq .Values.rollOnConfigChange "needed" -}}
{{- $all = append $all (dict "listen" $c.listen "spool" $c.spool "limits" $c.limits "format" (dig "log" "format" "" $c)) -}}
{{- end -}}
{{- if eq .Values.rollOnConfigChange "needed" -}}
{{- with $c.tracing -}}
{{- $all = append $all . -}}
{{- end -}}
{{- end -}}
{{- if ne .Values.rollOnConfigChange "never" -}}
{{- if include "portcullis.clamdBeside" . -}}
{{- $all = append $all (include "portcullis.clamdConf" .) -}}
{{- $all = append $all (include "portcullis.freshclamConf" .) -}}
{{- end -}}
{{- if eq .Values.topology "standalone" -}}
{{- $all = append $all (include "portcullis.bootstrap" .) -}}
{{- end -}}
{{- toJson $all | sha256sum -}}
{{- end -}}
{{- end -}}
