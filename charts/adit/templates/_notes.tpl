{{/* Keys of values that nothing reads, one a line, of this chart and of those in it. */}}
{{- define "umbrella.unread" -}}
{{- range $key, $value := .Values }}
{{- if not (has $key (list "global" "ztunnel" "cni")) }}
  {{ $key }}
{{- end }}
{{- end }}
{{- range $name, $chart := .Subcharts }}
{{- range $line := include (printf "%s.unread" $name) $chart | splitList "\n" }}
{{- if and (trim $line) (not (hasPrefix "global." (trim $line))) }}
  {{ $name }}.{{ trim $line }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
