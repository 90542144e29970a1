{{- /* bytes reads a size of the configuration: digits, with Ki, Mi, Gi or Ti if you like. */ -}}
{{- define "portcullis.bytes" -}}
{{- $s := . -}}
{{- if not (kindIs "string" .) -}}
{{- $s = printf "%d" (int64 .) -}}
{{- end -}}
{{- $unit := regexFind "[KMGT]i$" $s -}}
{{- $n := int64 (trimSuffix $unit $s) -}}
{{- mul $n (get (dict "" 1 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) $unit) -}}
{{- end -}}

{{- /* mebibytes rounds bytes up, for Kubernetes. */ -}}
{{- define "portcullis.mebibytes" -}}
{{- printf "%dMi" (div (add (int64 .) 1048575) 1048576) -}}
{{- end -}}

{{- /* ms reads a duration such as 500ms, 30s or 1h30m. */ -}}
{{- define "portcullis.ms" -}}
{{- $factor := dict "ns" 0.000001 "us" 0.001 "µs" 0.001 "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 -}}
{{- $ms := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ns|us|µs|ms|s|m|h)" . -1 -}}
{{- $n := regexFind "^[0-9.]+" . -}}
{{- $ms = addf $ms (mulf (float64 $n) (get $factor (trimPrefix $n .))) -}}
{{- end -}}
{{- int64 (round $ms 0) -}}
{{- end -}}

{{- /* seconds writes milliseconds as Envoy writes durations: 35s, 0.500s. */ -}}
{{- define "portcullis.seconds" -}}
{{- $ms := int64 . -}}
{{- if mod $ms 1000 -}}
{{- printf "%d.%03ds" (div $ms 1000) (mod $ms 1000) -}}
{{- else -}}
{{- printf "%ds" (div $ms 1000) -}}
{{- end -}}
{{- end -}}

{{- /* longest is the largest value of one duration over all policies, in milliseconds. */ -}}
{{- define "portcullis.longest" -}}
{{- $longest := 0 -}}
{{- $field := .field -}}
{{- $default := .default -}}
{{- range default (list (dict)) .root.Values.config.policies -}}
{{- $longest = max $longest (int64 (include "portcullis.ms" (default $default (get . $field)))) -}}
{{- end -}}
{{- $longest -}}
{{- end -}}

{{- /*
timers are Envoy's deadlines in milliseconds, as JSON. Portcullis owns every deadline; Envoy's are longer, so that they end an
exchange only if Portcullis itself is gone. They are those of "portcullis envoy-config".
*/ -}}
{{- define "portcullis.timers" -}}
{{- $slack := 5000 -}}
{{- $scan := int64 (include "portcullis.longest" (dict "root" . "field" "scan_timeout" "default" "30s")) -}}
{{- $upload := int64 (include "portcullis.longest" (dict "root" . "field" "upload_timeout" "default" "5m")) -}}
{{- $leg := add $scan $upload $slack -}}
{{- toJson (dict "message" (add $scan $slack) "maxMessage" (min $leg 3600000) "leg" $leg "idle" (add $leg $slack $slack) "exchange" (mul 4 $leg)) -}}
{{- end -}}

{{- /* The largest body that any policy holds. */ -}}
{{- define "portcullis.maxBody" -}}
{{- $largest := 0 -}}
{{- range default (list (dict)) .Values.config.policies -}}
{{- $largest = max $largest (int64 (include "portcullis.bytes" (default "100Mi" .max_body_bytes))) -}}
{{- end -}}
{{- $largest -}}
{{- end -}}

{{- /* drain is how long the process may take to stop, in milliseconds: grace, as JSON with timeout. */ -}}
{{- define "portcullis.drain" -}}
{{- $d := .Values.config.drain -}}
{{- $timers := fromJson (include "portcullis.timers" .) -}}
{{- $grace := int64 (include "portcullis.ms" (default "15s" $d.grace)) -}}
{{- $timeout := min (mul 2 (int64 $timers.leg)) 3600000 -}}
{{- if $d.timeout -}}
{{- $timeout = int64 (include "portcullis.ms" $d.timeout) -}}
{{- end -}}
{{- toJson (dict "grace" $grace "timeout" $timeout) -}}
{{- end -}}

{{- define "portcullis.terminationSeconds" -}}
{{- if .Values.terminationGracePeriodSeconds -}}
{{- .Values.terminationGracePeriodSeconds -}}
{{- else -}}
{{- $drain := fromJson (include "portcullis.drain" .) -}}
{{- $before := 0 -}}
{{- if eq .Values.topology "standalone" -}}
{{- $before = .Values.standalone.stopDelaySeconds -}}
{{- end -}}
{{- add (div (add (int64 $drain.grace) (int64 $drain.timeout) 999) 1000) $before 10 -}}
{{- end -}}
{{- end -}}
