#!/usr/bin/env bash
# Builds what `make e2e` runs beside ours, into the folder that is given: Kubernetes and etcd as cluster/go.mod pins them,
# CoreDNS as dns/go.mod does, istiod, istioctl and istio-cni as ../istioctl/go.mod does, and images of what is to run in
# pods. Half an hour of two cores the first time, then seconds: Go keeps what it built.
set -euo pipefail
mkdir -p "$1"
bin=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"
export CGO_ENABLED=0
small=(-trimpath -ldflags "-s -w")

cd cluster
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
go build -trimpath -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version" -o "$bin/" \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl}
go build "${small[@]}" -o "$bin/etcd" go.etcd.io/etcd/server/v3
go build "${small[@]}" -o "$bin/pause" .
../image.sh "$bin/pause-image.tar" adit.test/pause:1 "$bin/pause"
cd ../dns
go build "${small[@]}" -o "$bin/coredns" .
../image.sh "$bin/coredns-image.tar" adit.test/coredns:1 "$bin/coredns"
cd ../../istioctl
go build "${small[@]}" -o "$bin/" istio.io/istio/{cni/cmd/install-cni,cni/cmd/istio-cni,pilot/cmd/pilot-discovery,istioctl/cmd/istioctl}
IMAGE_USER=1337 ../e2e/image.sh "$bin/pilot-image.tar" adit.test/pilot:1 "$bin/pilot-discovery"
