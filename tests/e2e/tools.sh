#!/usr/bin/env bash
# Builds what `make e2e` runs beside ours, into the folder that is given: the API server and etcd that cluster/go.mod
# pins, istio-cni as ../istioctl/go.mod pins it, and the image of a sandbox's process. Minutes the first time, then
# seconds: Go keeps what it built.
set -euo pipefail
mkdir -p "$1"
bin=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0
small=(-trimpath -ldflags "-s -w")

cd cluster
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$bin/" \
    k8s.io/kubernetes/cmd/kube-apiserver
go build "${small[@]}" -o "$bin/etcd" go.etcd.io/etcd/server/v3
go build "${small[@]}" -o "$bin/pause" .
cd ../../istioctl
go build "${small[@]}" -o "$bin/" istio.io/istio/cni/cmd/install-cni istio.io/istio/cni/cmd/istio-cni

# The form in which `docker save` writes images: no registry has to serve it.
image=$(mktemp -d)
trap 'rm -rf "$image"' EXIT
same=(--owner=0 --group=0 --mtime=@0 --sort=name)
tar -C "$bin" "${same[@]}" -cf "$image/layer.tar" pause
layer=$(sha256sum "$image/layer.tar" | cut -d' ' -f1)
cat >"$image/config.json" <<EOF
{"architecture":"$(go env GOARCH)","os":"linux","config":{"Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
EOF
cat >"$image/manifest.json" <<EOF
[{"Config":"config.json","RepoTags":["adit.test/pause:1"],"Layers":["layer.tar"]}]
EOF
tar -C "$image" "${same[@]}" -cf "$bin/pause-image.tar" manifest.json config.json layer.tar
