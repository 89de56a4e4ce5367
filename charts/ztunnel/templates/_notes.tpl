{{/* Keys of values that nothing reads, one a line. */}}
{{- define "ztunnel.unread" -}}
{{- $known := get .Values "_internal_defaults_do_not_set" -}}
{{- $open := list "podAnnotations" "requests" "limits" "updateStrategy" "meshConfig" "seccompProfile" -}}
{{- $given := include "adit.given" . | fromYaml -}}
{{- $top := include "adit.overlay" (list $known (dict "global" dict "enabled" true)) | fromYaml -}}
{{- include "adit.unread" (dict "given" $given "known" $top "open" $open "path" "") -}}
{{- $global := include "adit.overlay" (list $known (include "adit.globals" . | fromYaml)) | fromYaml -}}
{{- include "adit.unread" (dict "given" (get $given "global" | default dict) "known" $global "open" $open "path" "global.") -}}
{{- end -}}

{{/* What is risky in the values, one a line. Given: root, values. */}}
{{- define "ztunnel.warnings" -}}
{{- $values := .values -}}
{{- if include "adit.istios" $values.hub }}
  The hub {{ $values.hub }} is Istio's and has no image of Adit: {{ include "ztunnel.image" . }} is used, and hub, tag and variant
  have no effect.
{{- else if and $values.tag (not $values.hub) (ne (include "adit.text" $values.tag) .root.Chart.AppVersion) }}
  The tag {{ include "adit.text" $values.tag }} is not the one this chart was made for, {{ .root.Chart.AppVersion }}.
{{- end }}
{{- if and $values.variant (not (include "adit.istios" $values.hub)) }}
  The variant {{ $values.variant }} has no effect: there is one image.
{{- end }}
{{- if ne ($values.resourceName | default "ztunnel") "ztunnel" }}
  The ServiceAccount is {{ $values.resourceName }}: istiod refuses it certificates unless it is installed with
  trustedZtunnelName={{ $values.resourceName }}. istioctl and Kiali look for the DaemonSet ztunnel.
{{- end }}
{{- if ne .root.Release.Namespace ($values.istioNamespace | default "istio-system") }}
  The proxies are in {{ .root.Release.Namespace }}, istiod is in {{ $values.istioNamespace }}: istiod refuses them certificates unless
  it is installed with trustedZtunnelNamespace={{ .root.Release.Namespace }}.
{{- end }}
{{- if gt (int (($values.updateStrategy | default dict).rollingUpdate | default dict).maxUnavailable) 0 }}
  With updateStrategy.rollingUpdate.maxUnavailable above 0 a node has no proxy while it is replaced, and its pods no network.
{{- end }}
{{- if lt (int $values.terminationGracePeriodSeconds) 10 }}
  With terminationGracePeriodSeconds={{ $values.terminationGracePeriodSeconds }} an upgrade cuts connections after a few seconds.
{{- end }}
{{- if eq (include "adit.text" $values.adit.unknownInMesh) "enforce" }}
{{- if $values.adit.meshCIDRs }}
  adit.unknownInMesh=enforce refuses connections to pods that istiod has not announced yet.
{{- else }}
  adit.unknownInMesh has no effect without adit.meshCIDRs.
{{- end }}
{{- end }}
{{- range $name := list "FAKE_CA" "UNSTABLE_ENABLE_SOCKS5" "LOCAL_XDS" "LOCAL_XDS_PATH" }}
{{- if hasKey ($values.env | default dict) $name }}
  env.{{ $name }} is for trials, not for clusters.
{{- end }}
{{- end }}
{{- end -}}
