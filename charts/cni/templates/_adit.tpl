{{/*
What Adit's charts share; the file is the same in each of them.

Names that begin with "adit." are helpers, those that begin with the chart's name are the chart's own.
*/}}

{{/* A scalar as text: numbers as they were written, nothing for null. */}}
{{- define "adit.text" -}}
{{- if kindIs "string" . -}}
{{- . -}}
{{- else if not (kindIs "invalid" .) -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* Whether a value says yes: true, or the text "true". Prints true or nothing. */}}
{{- define "adit.on" -}}
{{- if eq (include "adit.text" .) "true" -}}true{{- end -}}
{{- end -}}

{{/*
One map laid over another, as YAML: maps are merged, everything else of the upper map replaces what lies below, also what is
empty; null over a map is an empty map. Given as a list of the lower and the upper map.
*/}}
{{- define "adit.overlay" -}}
{{- $lower := index . 0 | default dict -}}
{{- $upper := index . 1 | default dict -}}
{{- $merged := dict -}}
{{- range $key, $value := $lower -}}
{{- if not (hasKey $upper $key) -}}
{{- $merged = set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $upper -}}
{{- $below := get $lower $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $merged = set $merged $key (include "adit.overlay" (list $below $value) | fromYaml) -}}
{{- else if and (kindIs "invalid" $value) (kindIs "map" $below) -}}
{{- $merged = set $merged $key dict -}}
{{- else -}}
{{- $merged = set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* A map of scalars with all of them as text, as labels, annotations and ConfigMaps want them. */}}
{{- define "adit.strings" -}}
{{- $strings := dict -}}
{{- range $key, $value := . -}}
{{- $strings = set $strings $key (include "adit.text" $value) -}}
{{- end -}}
{{- toYaml $strings -}}
{{- end -}}

{{/*
What was given, without Helm's own additions and the chart's defaults.
*/}}
{{- define "adit.given" -}}
{{- $given := dict -}}
{{- range $key, $value := .Values -}}
{{- if not (or (eq $key "_internal_defaults_do_not_set") (and (eq $key "global") (kindIs "invalid" $value))) -}}
{{- $given = set $given $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $given -}}
{{- end -}}

{{/* What a profile, a version or a platform presets; fails for a name that nobody knows. Given: presets, kind, name, words. */}}
{{- define "adit.preset" -}}
{{- $presets := get .presets .kind -}}
{{- if not (hasKey $presets .name) -}}
{{- fail (printf "unknown %s %s: this chart knows %s" .words .name (keys $presets | sortAlpha | join ", ")) -}}
{{- end -}}
{{- get $presets .name | default dict | toYaml -}}
{{- end -}}

{{/*
The values that count, as YAML: the chart's defaults, over them what the profile, the version to be compatible with and the
platform preset, over these what was given. Given: root, presets (as YAML), flatten (whether `global` counts as if it stood at
the top), legacy (a key whose content counts as if it stood at the top, or "").
*/}}
{{- define "adit.values" -}}
{{- $given := include "adit.given" .root | fromYaml -}}
{{- $global := get $given "global" | default dict -}}
{{- if get $given "defaults" -}}
{{- fail "nothing can be set under `defaults`: drop that prefix and set the value itself" -}}
{{- end -}}
{{- if not (hasKey (get .root.Values "_internal_defaults_do_not_set" | default dict) "adit") -}}
{{- fail "these are the defaults of another chart, as `helm upgrade --reuse-values` carries them over from Istio's: use --reset-then-reuse-values" -}}
{{- end -}}
{{- $nested := dict -}}
{{- if .legacy -}}
{{- $nested = get $given .legacy | default dict -}}
{{- end -}}
{{- $presets := fromYaml .presets -}}
{{- $merged := get .root.Values "_internal_defaults_do_not_set" | toYaml | fromYaml -}}
{{- $kinds := list (list "profile" "profile") (list "compatibilityVersion" "compatibility version") (list "platform" "platform") -}}
{{- range $kinds -}}
{{- $kind := index . 0 -}}
{{- $name := coalesce (get $given $kind) (get $global $kind) (get $merged $kind) | default "" -}}
{{- if $name -}}
{{- $arguments := dict "presets" $presets "kind" $kind "name" (include "adit.text" $name) "words" (index . 1) -}}
{{- $preset := include "adit.preset" $arguments | fromYaml -}}
{{- $merged = include "adit.overlay" (list $merged $preset) | fromYaml -}}
{{- $merged = set $merged $kind (include "adit.text" $name) -}}
{{- end -}}
{{- end -}}
{{- if .flatten -}}
{{- $merged = include "adit.overlay" (list $merged (omit $global "profile" "compatibilityVersion" "platform")) | fromYaml -}}
{{- end -}}
{{- $merged = include "adit.overlay" (list $merged (omit $given "profile" "compatibilityVersion" "platform")) | fromYaml -}}
{{- include "adit.overlay" (list $merged $nested) -}}
{{- end -}}

{{/* Fails where resourceScope is none of the three. */}}
{{- define "adit.scope" -}}
{{- if not (has . (list "all" "cluster" "namespace")) -}}
{{- fail (printf "resourceScope is %s: want all, cluster or namespace" .) -}}
{{- end -}}
{{- . -}}
{{- end -}}

{{/* Whether an image or a hub is Istio's own, where no image of ours can be. Prints true or nothing. */}}
{{- define "adit.istios" -}}
{{- $hub := printf "%s/" . -}}
{{- if or (hasPrefix "istio/" $hub) (hasPrefix "docker.io/istio/" $hub) (hasPrefix "index.docker.io/istio/" $hub) (hasPrefix "gcr.io/istio-" $hub) (hasPrefix "registry.istio.io/" $hub) -}}true{{- end -}}
{{- end -}}

{{/*
The image: a name with a slash as it is, any other in the hub. Istio's hubs and names lead to the image of this release.
Given: image, hub, tag, ours (our name), theirs (Istio's name), version.
*/}}
{{- define "adit.image" -}}
{{- $name := include "adit.text" .image | default .ours -}}
{{- if eq $name .theirs -}}
{{- $name = .ours -}}
{{- end -}}
{{- $hub := include "adit.text" .hub -}}
{{- if include "adit.istios" (ternary $name $hub (contains "/" $name)) -}}
{{- printf "ghcr.io/adit-mesh/%s:%s" .ours .version -}}
{{- else if contains "/" $name -}}
{{- $name -}}
{{- else -}}
{{- printf "%s/%s:%s" ($hub | default "ghcr.io/adit-mesh") $name (include "adit.text" .tag | default .version) -}}
{{- end -}}
{{- end -}}

{{/* Labels of every object of a release; a map laid over them wins. Given: root, name, over. */}}
{{- define "adit.labels" -}}
{{- $labels := dict "app.kubernetes.io/name" .name "app.kubernetes.io/managed-by" .root.Release.Service "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/part-of" "istio" "app.kubernetes.io/version" .root.Chart.AppVersion "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (replace "+" "_" .root.Chart.Version)) -}}
{{- include "adit.overlay" (list $labels (include "adit.strings" .over | fromYaml)) -}}
{{- end -}}

{{/* Limits and requests; of them only what is not null, and nothing else that may stand beside them. */}}
{{- define "adit.resources" -}}
{{- $resources := dict -}}
{{- range $kind := list "limits" "requests" -}}
{{- $amounts := dict -}}
{{- range $name, $amount := get $ $kind | default dict -}}
{{- if not (kindIs "invalid" $amount) -}}
{{- $amounts = set $amounts $name $amount -}}
{{- end -}}
{{- end -}}
{{- if $amounts -}}
{{- $resources = set $resources $kind $amounts -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* A list of variables without those that are given anew, and then these, so that no name comes twice. Given: fixed, given. */}}
{{- define "adit.env" -}}
{{- $env := list -}}
{{- range .fixed -}}
{{- if not (hasKey $.given .name) -}}
{{- $env = append $env . -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .given -}}
{{- $env = append $env (dict "name" $name "value" (include "adit.text" $value)) -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* Secrets to pull images with, given by name or as Kubernetes writes them. */}}
{{- define "adit.pullSecrets" -}}
{{- $secrets := list -}}
{{- range . -}}
{{- $secrets = append $secrets (ternary . (dict "name" .) (kindIs "map" .)) -}}
{{- end -}}
{{- toYaml $secrets -}}
{{- end -}}

{{/*
Values that nothing reads, one a line. Given: given, known (maps with something in them are looked into), open (names of maps
that are the user's), path.
*/}}
{{- define "adit.unread" -}}
{{- range $key, $value := .given -}}
{{- $known := get $.known $key -}}
{{- if not (hasKey $.known $key) }}
  {{ $.path }}{{ $key }}
{{- else if and (kindIs "map" $value) (kindIs "map" $known) $known (not (has $key $.open)) -}}
{{- include "adit.unread" (dict "given" $value "known" $known "open" $.open "path" (printf "%s%s." $.path $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Keys of `global` that Istio's other charts read, so that one file of values can serve all of them. */}}
{{- define "adit.globals" -}}
{{- range list "agentgateway" "caName" "certSigners" "configCluster" "configValidation" "defaultNodeSelector" "defaultPodDisruptionBudget" "defaultResources" "defaultTolerations" "externalIstiod" "gateway" "ipFamilies" "ipFamilyPolicy" "istiod" "jwtPolicy" "logging" "meshID" "mountMtlsCerts" "nativeNftables" "omitSidecarInjectorConfigMap" "operatorManageWebhooks" "pilotCertProvider" "priorityClassName" "proxy" "proxy_init" "remotePilotAddress" "sds" "sts" "tracer" "waypoint" }}
{{ . }}: null
{{- end }}
{{- end -}}
