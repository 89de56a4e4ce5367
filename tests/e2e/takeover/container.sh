#!/usr/bin/env bash
# What a kubelet and a runtime make of the DaemonSet's pod template, as far as an agent can see it: a root of its own
# with the node's directories under /host. Run inside a fresh mount namespace that still hears of the node's mounts.
# usage: container.sh ROOT NODE_CONF_DIR NODE_BIN_DIR IMAGE_BIN_DIR PROGRAM [ARGUMENT...]
set -euo pipefail
root=$1 confs=$2 bins=$3 image=$4 program=$5
shift 5
mount -t tmpfs container "$root"
for dir in bin sbin lib lib32 lib64 usr etc; do
    if [ -L "/$dir" ]; then
        cp -P "/$dir" "$root/$dir"
    elif [ -d "/$dir" ]; then
        mkdir "$root/$dir"
        mount --rbind "/$dir" "$root/$dir"
    fi
done
for dir in proc sys dev run; do
    mkdir "$root/$dir"
    mount --rbind "/$dir" "$root/$dir"
done
mkdir -p "$root"/{tmp,var,app,opt/cni/bin,host/opt/cni/bin,host/etc/cni/net.d,host/proc,host/var/run/netns}
ln -s /run "$root/var/run"
mount --bind "$(dirname "$program")" "$root/app"
mount --bind "$image" "$root/opt/cni/bin"
mount --bind "$bins" "$root/host/opt/cni/bin"
mount --bind "$confs" "$root/host/etc/cni/net.d"
mount --rbind /proc "$root/host/proc"
mount --bind -o ro /run/netns "$root/host/var/run/netns"
exec chroot "$root" "/app/$(basename "$program")" "$@"
