{{/* What presets mean for this chart. */}}
{{- define "ztunnel.presets" -}}
profile:
  ambient:
    meshConfig: {defaultConfig: {proxyMetadata: {ISTIO_META_ENABLE_HBONE: "true"}}}
  default: {}
  demo: {}
  preview: {}
  remote: {}
  stable: {}
compatibilityVersion: {"1.26": {}, "1.27": {}, "1.28": {}, "1.29": {}, "1.30": {}}
platform:
  gke:
    resourceQuotas: {enabled: true}
  k3d: {}
  k3s: {}
  microk8s: {}
  minikube: {}
  openshift:
    seLinuxOptions: {type: spc_t}
{{- end -}}

{{/* The values that count, as YAML. */}}
{{- define "ztunnel.values" -}}
{{- include "adit.values" (dict "root" . "presets" (include "ztunnel.presets" .) "flatten" true "legacy" "") -}}
{{- end -}}

{{/* Metadata of an object. Given: root, values. */}}
{{- define "ztunnel.metadata" -}}
name: {{ .values.resourceName | default "ztunnel" }}
{{- if not .clusterScoped }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "adit.labels" (dict "root" .root "name" "ztunnel" "over" .values.labels) | nindent 2 }}
{{- with include "ztunnel.annotations" (dict "over" .values.annotations "revision" .values.revision) | fromYaml }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Annotations, and the revision among them where there is one. Given: over, revision. */}}
{{- define "ztunnel.annotations" -}}
{{- $annotations := include "adit.strings" .over | fromYaml -}}
{{- with include "adit.text" .revision -}}
{{- $annotations = set $annotations "istio.io/rev" . -}}
{{- end -}}
{{- toYaml $annotations -}}
{{- end -}}

{{/* Labels of pods. The selector's is nobody's to change. Given: root, values. */}}
{{- define "ztunnel.podLabels" -}}
{{- $own := dict "sidecar.istio.io/inject" "false" "istio.io/dataplane-mode" "none" -}}
{{- $over := include "adit.overlay" (list $own (include "adit.strings" .values.podLabels | fromYaml)) | fromYaml -}}
{{- $labels := include "adit.labels" (dict "root" .root "name" "ztunnel" "over" $over) | fromYaml -}}
{{- set $labels "app" "ztunnel" | toYaml -}}
{{- end -}}

{{/* The image of the proxy. Given: root, values. */}}
{{- define "ztunnel.image" -}}
{{- $values := .values -}}
{{- include "adit.image" (dict "image" $values.image "hub" $values.hub "tag" $values.tag "ours" "adit-proxy" "theirs" "ztunnel" "version" .root.Chart.AppVersion) -}}
{{- end -}}

{{/* Variables of the proxy, each once: those given by the user win over metadata, and metadata over the chart's. */}}
{{- define "ztunnel.env" -}}
{{- $values := . -}}
{{- $snapshot := .adit.snapshot | default dict -}}
{{- $istiod := printf "istiod%s.%s.svc:15012" (ternary (printf "-%s" (include "adit.text" .revision)) "" (ne (include "adit.text" .revision) "")) .istioNamespace -}}
{{- $env := list (dict "name" "CA_ADDRESS" "value" (.caAddress | default $istiod)) -}}
{{- $env = append $env (dict "name" "XDS_ADDRESS" "value" (.xdsAddress | default $istiod)) -}}
{{- if include "adit.on" .logAsJson -}}
{{- $env = append $env (dict "name" "LOG_FORMAT" "value" "json") -}}
{{- end -}}
{{- with include "adit.text" .network -}}
{{- $env = append $env (dict "name" "NETWORK" "value" .) -}}
{{- end -}}
{{- $env = append $env (dict "name" "RUST_LOG" "value" (.logLevel | default "info")) -}}
{{- $env = append $env (dict "name" "RUST_BACKTRACE" "value" "1") -}}
{{- $env = append $env (dict "name" "ISTIO_META_CLUSTER_ID" "value" (include "adit.text" (.multiCluster | default dict).clusterName | default "Kubernetes")) -}}
{{- $env = append $env (dict "name" "INPOD_ENABLED" "value" "true") -}}
{{- $env = append $env (dict "name" "TERMINATION_GRACE_PERIOD_SECONDS" "value" (include "adit.text" .terminationGracePeriodSeconds | default "30")) -}}
{{- range $field := list (list "POD_NAME" "metadata.name") (list "POD_NAMESPACE" "metadata.namespace") (list "NODE_NAME" "spec.nodeName") (list "INSTANCE_IP" "status.podIP") (list "SERVICE_ACCOUNT" "spec.serviceAccountName") -}}
{{- $env = append $env (dict "name" (index $field 0) "valueFrom" (dict "fieldRef" (dict "fieldPath" (index $field 1)))) -}}
{{- end -}}
{{- $metadata := ((.meshConfig | default dict).defaultConfig | default dict).proxyMetadata | default dict -}}
{{- $env = include "adit.env" (dict "fixed" $env "given" $metadata) | fromYamlArray -}}
{{- $env = append $env (dict "name" "ZTUNNEL_CPU_LIMIT" "valueFrom" (dict "resourceFieldRef" (dict "resource" "limits.cpu" "divisor" "1"))) -}}
{{- range $kind := list "limit" "request" -}}
{{- if get (get $values.resources (printf "%ss" $kind) | default dict) "cpu" -}}
{{- $env = append $env (dict "name" (printf "ZTUNNEL_RESOURCE_CPU_%s" (upper $kind)) "valueFrom" (dict "resourceFieldRef" (dict "resource" (printf "%ss.cpu" $kind) "divisor" "1"))) -}}
{{- end -}}
{{- end -}}
{{- if include "adit.on" (.peerCaCrl | default dict).enabled -}}
{{- $env = append $env (dict "name" "CRL_PATH" "value" "/var/run/secrets/istio/crl/ca-crl.pem") -}}
{{- end -}}
{{- if include "adit.on" $snapshot.enabled -}}
{{- $env = append $env (dict "name" "ADIT_SNAPSHOT_DIR" "value" "/var/lib/adit/proxy") -}}
{{- $env = append $env (dict "name" "ADIT_SNAPSHOT_MAX_AGE" "value" ($snapshot.maxAge | default "24h")) -}}
{{- end -}}
{{- with .adit.meshCIDRs -}}
{{- $env = append $env (dict "name" "ADIT_MESH_CIDRS" "value" (join "," .)) -}}
{{- $env = append $env (dict "name" "ADIT_UNKNOWN_IN_MESH" "value" $values.adit.unknownInMesh) -}}
{{- end -}}
{{- include "adit.env" (dict "fixed" $env "given" (.env | default dict)) -}}
{{- end -}}
