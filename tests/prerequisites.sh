#!/usr/bin/env bash
# Makes sure the few system programs are there: a C compiler for the crypto library, iptables for the redirection,
# curl for the story; for `e2e` a container runtime with the CNI project's plugins too; for `images` no more than a
# compiler, and the lists that name packages. Installs what is missing from Debian's packages, and says so.
set -euo pipefail

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
missing=()
need() { # program package
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2")
}
need cargo cargo
need cc gcc
if [ "${1:-}" = images ]; then
    command -v apt-get >/dev/null 2>&1 ||
        { echo "make images takes Debian's packages: run it on Debian or what descends from it" >&2; exit 1; }
    if ! apt-get download --print-uris -qq iptables >/dev/null 2>&1; then
        echo "There are no lists of packages. Fetching them."
        "${sudo[@]}" apt-get update -qq
    fi
else
    need iptables-restore iptables
    need nft nftables
    need ipset ipset
    need curl curl
fi
if [ "${1:-}" = e2e ]; then
    [ "$(id -u)" -eq 0 ] || { echo "make e2e runs containers and needs root" >&2; exit 1; }
    command -v go >/dev/null 2>&1 || { echo "make e2e needs Go 1.26: it builds the API server that tests/e2e/cluster/go.mod pins" >&2; exit 1; }
    need containerd containerd
    need nft nftables
    need ipset ipset
    need runc runc
    [ -x /usr/lib/cni/ptp ] || [ -x /opt/cni/bin/ptp ] || missing+=(containernetworking-plugins)
fi

if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
case " ${missing[*]} " in
*" cargo "*)
    echo "cargo is missing: install Rust (see rust-version in Cargo.toml) and run this again" >&2
    exit 1
    ;;
esac
echo "Missing: ${missing[*]}. Installing from the system's packages."
if ! command -v apt-get >/dev/null 2>&1; then
    echo "This system has no apt-get: install ${missing[*]} yourself and run this again" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends libc6-dev "${missing[@]}" >/dev/null
echo "Installed: ${missing[*]}."
