#!/usr/bin/env bash
# Furnishes a machine: process 1 of its own PID namespace, in mount, UTS and IPC namespaces of its own. What a kubelet,
# a container runtime and the charts' host paths write lands on the machine's disk, nothing on this system's.
# usage: machine.sh NAME RESOLVER DISK LAB READY
set -euo pipefail
name=$1 resolver=$2 disk=$3 lab=$4 ready=$5
hostname "$name"
mount --make-rslave /
mkdir -p "$disk"/{etc,etc.work,cni/net.d,cni/bin,sys,kubelet,containerd,run} "$lab/$name/pods"

# Of /etc, programs need what is there, and more; /var and /opt begin empty.
mount -t overlay etc -o "lowerdir=/etc,upperdir=$disk/etc,workdir=$disk/etc.work" /etc
echo "$name" >/etc/hostname
printf '127.0.0.1 localhost\n' >/etc/hosts
rm -f /etc/resolv.conf
printf 'nameserver %s\n' "$resolver" >/etc/resolv.conf
mkdir -p /etc/cni/net.d
mount --bind "$disk/cni/net.d" /etc/cni/net.d
mount -t tmpfs opt /opt
mkdir -p /opt/cni/bin
mount --bind "$disk/cni/bin" /opt/cni/bin
mount -t tmpfs var /var
mkdir -p /var/{lib/{kubelet,containerd,cni},log/{pods,containers},tmp}
ln -s /run /var/run
mount --bind "$disk/kubelet" /var/lib/kubelet
mount --bind "$disk/containerd" /var/lib/containerd
# Beside the lab's other logs.
mount --bind "$lab/$name/pods" /var/log/pods

# A kubelet sets what is the whole system's unless it reads the values it wants: that is all it is given here.
while read -r key value; do
    [ -e "/proc/sys/$key" ] || continue
    seen="$disk/sys/${key//\//.}"
    echo "$value" >"$seen"
    mount --bind "$seen" "/proc/sys/$key"
done <<END
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
END

# The lab's own files keep their path; nobody else's sockets are seen.
mount -t tmpfs run "$disk/run"
mkdir -p "$disk/run"/{lab,netns,lock}
mount --rbind "$lab" "$disk/run/lab"
mount --no-mtab --move "$disk/run" /run

mount --make-rshared /
touch "$ready"
# What has lost its parent is this process's to collect.
trap '' CHLD
exec sleep infinity
