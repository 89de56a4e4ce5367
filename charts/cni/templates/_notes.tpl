{{/* Keys of values that nothing reads, one a line. */}}
{{- define "cni.unread" -}}
{{- $known := get .Values "_internal_defaults_do_not_set" -}}
{{- $open := list "requests" "limits" "updateStrategy" "seccompProfile" "defaultResources" -}}
{{- $given := include "adit.given" . | fromYaml -}}
{{- $top := include "adit.overlay" (list (omit $known "global") (dict "global" dict "cni" dict "enabled" true)) | fromYaml -}}
{{- include "adit.unread" (dict "given" $given "known" $top "open" $open "path" "") -}}
{{- include "adit.unread" (dict "given" (get $given "cni" | default dict) "known" $top "open" $open "path" "cni.") -}}
{{- $global := include "adit.overlay" (list (include "adit.globals" . | fromYaml) (get $known "global")) | fromYaml -}}
{{- $global = include "adit.overlay" (list $global (include "cni.otherGlobals" . | fromYaml)) | fromYaml -}}
{{- include "adit.unread" (dict "given" (get $given "global" | default dict) "known" $global "open" $open "path" "global.") -}}
{{- end -}}

{{/* Keys of `global` that only the chart ztunnel reads, and those that say what stands at the top too. */}}
{{- define "cni.otherGlobals" -}}
{{- range list "profile" "platform" "compatibilityVersion" "caAddress" "istioNamespace" "meshConfig" "multiCluster" "network" "peerCaCrl" "trustBundleName" "xdsAddress" }}
{{ . }}: null
{{- end }}
{{- end -}}

{{/* What is risky in the values, one a line. Given: root, values. */}}
{{- define "cni.warnings" -}}
{{- $values := .values -}}
{{- $hub := $values.hub | default $values.global.hub -}}
{{- $tag := $values.tag | default $values.global.tag -}}
{{- $variant := $values.variant | default $values.global.variant -}}
{{- if include "adit.istios" $hub }}
  The hub {{ $hub }} is Istio's and has no image of Adit: {{ include "cni.image" . }} is used, and hub, tag and variant have no effect.
{{- else if and $tag (not $hub) (ne (include "adit.text" $tag) .root.Chart.AppVersion) }}
  The tag {{ include "adit.text" $tag }} is not the one this chart was made for, {{ .root.Chart.AppVersion }}.
{{- end }}
{{- if and $variant (not (include "adit.istios" $hub)) }}
  The variant {{ $variant }} has no effect: there is one image.
{{- end }}
{{- if not (include "adit.on" $values.ambient.enabled) }}
  ambient.enabled is false: no pod joins the mesh, and pods that are in it leave it. Set profile=ambient or ambient.enabled=true.
{{- end }}
{{- range $key := list "labelPods" "deletePods" }}
{{- if include "adit.on" (get $values.repair $key) }}
  repair.{{ $key }} has no effect: Adit does not repair sidecars, and asks for no right to.
{{- end }}
{{- end }}
{{- if and (include "adit.on" $values.ambient.enabled) (not (include "adit.on" $values.ambient.reconcileIptablesOnStartup)) }}
  ambient.reconcileIptablesOnStartup=false has no effect: what enrolled pods have is always measured and repaired.
{{- end }}
{{- if not (has "kube-system" ($values.excludeNamespaces | default list)) }}
  kube-system is not among excludeNamespaces: its pods can be enrolled, and DNS with them.
{{- end }}
{{- if eq (include "adit.text" $values.adit.unprovedOutbound) "refuse" }}
  adit.unprovedOutbound=refuse resets new connections of a running pod that joins the mesh until it is proved to be captured.
{{- end }}
{{- if has (include "adit.text" $values.adit.canary) (list "off" "false") }}
  adit.canary=off: that a pod is captured is no longer proved by a connection.
{{- end }}
{{- if and (include "adit.on" $values.adit.statusNeedsAgent) (not (include "adit.on" $values.ambient.shareHostNetworkNamespace)) }}
  adit.statusNeedsAgent without ambient.shareHostNetworkNamespace: a node may wait for an agent that waits for the node.
{{- end }}
{{- if hasKey ($values.env | default dict) "AMBIENT_DISABLE_SAFE_UPGRADE" }}
  env.AMBIENT_DISABLE_SAFE_UPGRADE takes every pod out of the mesh whenever the agent restarts.
{{- end }}
{{- end -}}
