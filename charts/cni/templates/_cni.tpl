{{/* What presets mean for this chart. */}}
{{- define "cni.presets" -}}
profile:
  ambient:
    ambient: {enabled: true}
  default: {}
  demo: {}
  preview: {}
  remote: {}
  stable: {}
compatibilityVersion:
  "1.26": {ambient: {reconcileIptablesOnStartup: false}}
  "1.27": {ambient: {reconcileIptablesOnStartup: false}}
  "1.28": {ambient: {reconcileIptablesOnStartup: false}}
  "1.29": {}
  "1.30": {}
platform:
  gke:
    cniBinDir: ""
    resourceQuotas: {enabled: true}
  k3d:
    cniConfDir: /var/lib/rancher/k3s/agent/etc/cni/net.d
    cniBinDir: /bin
  k3s:
    cniConfDir: /var/lib/rancher/k3s/agent/etc/cni/net.d
    cniBinDir: /var/lib/rancher/k3s/data/cni
  microk8s:
    cniConfDir: /var/snap/microk8s/current/args/cni-network
    cniBinDir: /var/snap/microk8s/current/opt/cni/bin
  minikube:
    cniNetnsDir: /var/run/docker/netns
  openshift:
    cniBinDir: /var/lib/cni/bin
    cniConfDir: /etc/cni/multus/net.d
    chained: false
    cniConfFileName: istio-cni.conf
    provider: multus
    seLinuxOptions: {type: spc_t}
{{- end -}}

{{/* The values that count, as YAML. */}}
{{- define "cni.values" -}}
{{- include "adit.values" (dict "root" . "presets" (include "cni.presets" .) "flatten" false "legacy" "cni") -}}
{{- end -}}

{{/* Metadata of an object. Given: root, values, name, and clusterScoped, over (labels) where they apply. */}}
{{- define "cni.metadata" -}}
name: {{ .name }}
{{- if not .clusterScoped }}
namespace: {{ .root.Release.Namespace }}
{{- end }}
labels:
  {{- $own := dict "app" "istio-cni" "release" .root.Release.Name "istio.io/rev" (include "adit.text" .values.revision | default "default") "install.operator.istio.io/owning-resource" (.values.ownerName | default "unknown") "operator.istio.io/component" "Cni" }}
  {{- $over := include "adit.overlay" (list $own (.over | default dict)) | fromYaml }}
  {{- include "adit.labels" (dict "root" .root "name" "istio-cni" "over" $over) | nindent 2 }}
{{- end -}}

{{/* The tag that the image has, or would have in a hub. */}}
{{- define "cni.tag" -}}
{{- coalesce (include "adit.text" .values.tag) (include "adit.text" .values.global.tag) .root.Chart.AppVersion -}}
{{- end -}}

{{/* The image of the agent. Given: root, values. */}}
{{- define "cni.image" -}}
{{- $hub := .values.hub | default .values.global.hub -}}
{{- include "adit.image" (dict "image" .values.image "hub" $hub "tag" (include "cni.tag" .) "ours" "adit-node-agent" "theirs" "install-cni" "version" .root.Chart.AppVersion) -}}
{{- end -}}

{{/* The node's directory of plugins. GKE keeps them where its image of the system can be written. Given: root, values. */}}
{{- define "cni.binDir" -}}
{{- if .values.cniBinDir -}}
{{- .values.cniBinDir -}}
{{- else if contains "-gke" .root.Capabilities.KubeVersion.Version -}}
/home/kubernetes/bin
{{- else -}}
/opt/cni/bin
{{- end -}}
{{- end -}}

{{/* What the ConfigMap holds, as YAML. Given: root, values. */}}
{{- define "cni.config" -}}
{{- $values := .values -}}
{{- $ambient := $values.ambient -}}
{{- $repair := $values.repair -}}
{{- $config := dict "CURRENT_AGENT_VERSION" (include "cni.tag" .) "AMBIENT_ENABLED" $ambient.enabled "AMBIENT_DNS_CAPTURE" $ambient.dnsCapture "AMBIENT_IPV6" $ambient.ipv6 "AMBIENT_RECONCILE_POD_RULES_ON_STARTUP" $ambient.reconcileIptablesOnStartup "ENABLE_AMBIENT_DETECTION_RETRY" $ambient.enableAmbientDetectionRetry -}}
{{- $config = set $config "AMBIENT_ENABLEMENT_SELECTOR" (toYaml $ambient.enablementSelectors) -}}
{{- with $values.cniConfFileName -}}
{{- if and (hasSuffix ".conflist" .) (not (include "adit.on" $values.chained)) -}}
{{- fail (printf "cniConfFileName is %s: with chained=false the plugin has a file for itself, such as istio-cni.conf" .) -}}
{{- end -}}
{{- $config = set $config "CNI_CONF_NAME" . -}}
{{- end -}}
{{- $config = set $config "ISTIO_OWNED_CNI_CONFIG" $values.istioOwnedCNIConfig -}}
{{- with $values.istioOwnedCNIConfigFileName -}}
{{- $config = set $config "ISTIO_OWNED_CNI_CONF_FILENAME" . -}}
{{- end -}}
{{- $config = set $config "CHAINED_CNI_PLUGIN" $values.chained -}}
{{- $config = set $config "EXCLUDE_NAMESPACES" (join "," ($values.excludeNamespaces | default list)) -}}
{{- $config = set $config "REPAIR_ENABLED" $repair.enabled -}}
{{- $config = set $config "REPAIR_LABEL_PODS" $repair.labelPods -}}
{{- $config = set $config "REPAIR_DELETE_PODS" $repair.deletePods -}}
{{- $config = set $config "REPAIR_REPAIR_PODS" $repair.repairPods -}}
{{- $config = set $config "REPAIR_INIT_CONTAINER_NAME" $repair.initContainerName -}}
{{- $config = set $config "REPAIR_BROKEN_POD_LABEL_KEY" $repair.brokenPodLabelKey -}}
{{- $config = set $config "REPAIR_BROKEN_POD_LABEL_VALUE" $repair.brokenPodLabelValue -}}
{{- $config = set $config "NATIVE_NFTABLES" $values.global.nativeNftables -}}
{{- /* Without quotes, YAML reads on and off as true and false. */ -}}
{{- with include "adit.text" $values.adit.canary -}}
{{- $config = set $config "ADIT_CANARY" (. | replace "true" "on" | replace "false" "off") -}}
{{- end -}}
{{- $ours := list (list "unprovedOutbound" "ADIT_UNPROVED_OUTBOUND") (list "measureInterval" "MEASURE_INTERVAL") (list "withdrawGrace" "WITHDRAW_GRACE") (list "uninstallWithin" "UNINSTALL_WITHIN") (list "podWait" "POD_WAIT") (list "iptables" "FORCE_IPTABLES_BINARY") (list "pluginLogLevel" "CNI_PLUGIN_LOG_LEVEL") (list "confGroupRead" "CNI_CONF_GROUP_READ") (list "statusNeedsAgent" "CNI_STATUS_NEEDS_AGENT") (list "proxyNamespace" "SYSTEM_NAMESPACE") -}}
{{- range $pair := $ours -}}
{{- with include "adit.text" (get $values.adit (index $pair 0)) -}}
{{- $config = set $config (index $pair 1) . -}}
{{- end -}}
{{- end -}}
{{- $config = include "adit.overlay" (list $config $values.env) | fromYaml -}}
{{- include "adit.strings" $config -}}
{{- end -}}

{{/* Variables that depend on the pod, and those of the user. */}}
{{- define "cni.env" -}}
{{- $env := list (dict "name" "REPAIR_NODE_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "spec.nodeName"))) -}}
{{- $env = append $env (dict "name" "REPAIR_RUN_AS_DAEMON" "value" "true") -}}
{{- $env = append $env (dict "name" "REPAIR_SIDECAR_ANNOTATION" "value" "sidecar.istio.io/status") -}}
{{- if not (include "adit.on" .ambient.shareHostNetworkNamespace) -}}
{{- $env = append $env (dict "name" "ALLOW_SWITCH_TO_HOST_NS" "value" "true") -}}
{{- end -}}
{{- $env = append $env (dict "name" "NODE_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "spec.nodeName"))) -}}
{{- $env = append $env (dict "name" "GOMEMLIMIT" "valueFrom" (dict "resourceFieldRef" (dict "resource" "limits.memory"))) -}}
{{- $env = append $env (dict "name" "GOMAXPROCS" "valueFrom" (dict "resourceFieldRef" (dict "resource" "limits.cpu"))) -}}
{{- $env = append $env (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) -}}
{{- $env = append $env (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace"))) -}}
{{- $env = append $env (dict "name" "PROC_ROOT" "value" "/host/proc") -}}
{{- $env = append $env (dict "name" "SELECTED_NAMESPACES_FILE" "value" (printf "%s/selected-namespaces.json" .adit.dataDir)) -}}
{{- include "adit.env" (dict "fixed" $env "given" (.env | default dict)) -}}
{{- end -}}
