{{/* Keys of values that nothing reads, one a line: of this chart, of `global` where no chart reads them, and of each chart in it. */}}
{{- define "umbrella.unread" -}}
{{- range $key, $value := .Values }}
{{- if not (has $key (list "global" "ztunnel" "cni" "dashboard" "alerts")) }}
  {{ $key }}
{{- end }}
{{- end }}
{{- $told := dict -}}
{{- range $name, $chart := .Subcharts -}}
{{- $told = set $told $name (include (printf "%s.unread" $name) $chart) -}}
{{- end -}}
{{- range $key, $value := .Values.global -}}
{{- $unread := gt (len $told) 0 -}}
{{- range $name, $text := $told -}}
{{- if not (contains (printf "\n  global.%s\n" $key) (printf "%s\n" $text)) -}}
{{- $unread = false -}}
{{- end -}}
{{- end -}}
{{- if $unread }}
  global.{{ $key }}
{{- end -}}
{{- end -}}
{{- range $name, $text := $told -}}
{{- range $line := splitList "\n" $text -}}
{{- if and (trim $line) (not (hasPrefix "global." (trim $line))) }}
  {{ $name }}.{{ trim $line }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
