{{/* Metadata of what watches the data plane; labels by which it is found win. Given: root, name, labels. */}}
{{- define "umbrella.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- $labels := dict "app.kubernetes.io/name" "adit" "app.kubernetes.io/managed-by" .root.Release.Service "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/part-of" "istio" "app.kubernetes.io/version" .root.Chart.AppVersion "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (replace "+" "_" .root.Chart.Version)) }}
  {{- range $key, $value := .labels }}
  {{- $labels = set $labels $key (toString $value) }}
  {{- end }}
  {{- toYaml $labels | nindent 2 }}
{{- end -}}
