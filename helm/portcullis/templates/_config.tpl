{{- /* engines are the configuration's engines: those with a switch, then the user's own. */ -}}
{{- define "portcullis.engines" -}}
{{- $all := list -}}
{{- with .Values.engines.builtin -}}
{{- if .enabled -}}
{{- $builtin := dict -}}
{{- if .hashLists.configMap -}}
{{- $files := list -}}
{{- range .hashLists.files -}}
{{- $files = append $files (printf "/etc/portcullis/hash-lists/%s" .) -}}
{{- end -}}
{{- $builtin = dict "hash_lists" $files -}}
{{- end -}}
{{- $all = append $all (dict "name" "builtin" "builtin" $builtin) -}}
{{- end -}}
{{- end -}}
{{- with .Values.engines.clamd -}}
{{- if .enabled -}}
{{- $addresses := .addresses -}}
{{- if eq .deployment "sidecar" -}}
{{- $addresses = list "unix:/run/clamav/clamd.ctl" -}}
{{- else if eq .deployment "service" -}}
{{- $addresses = list -}}
{{- $name := printf "%s-clamd" (include "portcullis.fullname" $) -}}
{{- range $i := until (int .replicas) -}}
{{- $addresses = append $addresses (printf "%s-%d.%s.%s.svc:3310" $name $i $name $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- $all = append $all (dict "name" "clamav" "clamd" (merge (dict "addresses" $addresses) .settings)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.engines.cloudmersive -}}
{{- if .enabled -}}
{{- $file := printf "/run/secrets/portcullis/cloudmersive/%s" .secretKey -}}
{{- $all = append $all (dict "name" "cloudmersive" "cloudmersive" (merge (dict "api_key_file" $file) .settings)) -}}
{{- end -}}
{{- end -}}
{{- with .Values.engines.icap -}}
{{- if .enabled -}}
{{- $all = append $all (dict "name" "icap" "icap" .settings) -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $all .Values.config.engines) -}}
{{- end -}}

{{- /* listen: every address where a Service leads to it, loopback where Envoy is in the same pod. */ -}}
{{- define "portcullis.listen" -}}
{{- $listen := dict "extproc" ":9100" "admin" ":9101" -}}
{{- if ne .Values.topology "central" -}}
{{- $_ := set $listen "extproc" "127.0.0.1:9100" -}}
{{- end -}}
{{- if ne .Values.tls.mode "none" -}}
{{- $tls := dict "cert_file" "/run/secrets/portcullis/tls/tls.crt" "key_file" "/run/secrets/portcullis/tls/tls.key" -}}
{{- if .Values.tls.verifyClients -}}
{{- $_ := set $tls "client_ca_file" "/run/secrets/portcullis/tls/ca.crt" -}}
{{- with .Values.tls.clientSpiffeIDs -}}
{{- $_ := set $tls "client_spiffe_ids" . -}}
{{- end -}}
{{- end -}}
{{- $_ := set $listen "tls" $tls -}}
{{- end -}}
{{- toYaml $listen -}}
{{- end -}}

{{- /* config is the file of portcullis.config.v1. */ -}}
{{- define "portcullis.config" -}}
{{- $c := deepCopy .Values.config -}}
{{- $drain := fromJson (include "portcullis.drain" .) -}}
{{- $_ := set $c "listen" (fromYaml (include "portcullis.listen" .)) -}}
{{- $_ := set $c "engines" (fromYamlArray (include "portcullis.engines" .)) -}}
{{- $_ := set $c.spool "disk_dir" "/var/lib/portcullis/spool" -}}
{{- $_ := set $c.drain "timeout" (include "portcullis.seconds" $drain.timeout) -}}
{{- if eq .Values.profile "buffered" -}}
{{- $most := add (int64 (include "portcullis.bytes" .Values.bufferedMaxBodyBytes)) 2097152 -}}
{{- if and (not $c.limits.max_receive_message_bytes) (gt $most 67108864) -}}
{{- $_ := set $c.limits "max_receive_message_bytes" $most -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $c -}}
{{- if not $value -}}
{{- $_ := unset $c $key -}}
{{- end -}}
{{- end -}}
{{- toYaml $c -}}
{{- end -}}

{{- /* clamdConf is clamd's configuration: its limits follow from the policies. */ -}}
{{- define "portcullis.clamdConf" -}}
{{- $clamd := .Values.engines.clamd -}}
{{- $body := int64 (include "portcullis.maxBody" .) -}}
Foreground yes
LogTime yes
DatabaseDirectory /var/lib/clamav
TemporaryDirectory /var/tmp/clamav
{{- if eq $clamd.deployment "sidecar" }}
LocalSocket /run/clamav/clamd.ctl
FixStaleSocket yes
{{- else }}
TCPSocket 3310
{{- end }}
# The largest body of any policy; a larger one is refused by clamd, in words.
StreamMaxLength {{ $body }}
MaxFileSize {{ $body }}
MaxScanSize {{ max $body (min (mul 4 $body) 1000000000) }}
# Without this clamd calls clean what it did not look at.
AlertExceedsMax yes
AlertEncrypted yes
# Two more than Portcullis uses: canaries need one, and so does a scan that was given up.
MaxThreads {{ add 2 (default 8 $clamd.settings.max_in_flight) }}
ConcurrentDatabaseReload yes
{{- with $clamd.extraConfig }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "portcullis.freshclamConf" -}}
{{- $f := .Values.engines.clamd.freshclam -}}
Foreground yes
LogTime yes
DatabaseDirectory /var/lib/clamav
{{- if $f.privateMirror }}
PrivateMirror {{ $f.privateMirror }}
{{- else }}
DatabaseMirror {{ $f.mirror }}
{{- end }}
Checks {{ $f.checksPerDay }}
NotifyClamd /etc/clamav/clamd.conf
{{- with $f.extraConfig }}
{{ . }}
{{- end }}
{{- end -}}
