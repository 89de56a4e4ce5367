#!/usr/bin/env bash
# Writes the archive of an image that holds these programs in /bin with the libraries they ask for, in the form in which
# `docker save` writes one: no registry has to serve it. The first program is what it runs.
# usage: [IMAGE_USER=UID] image.sh ARCHIVE NAME:TAG PROGRAM...
set -euo pipefail
archive=$1 name=$2
shift 2
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
mkdir -p "$made/root"/{bin,etc,tmp}
chmod 1777 "$made/root/tmp"
for program in "$@"; do
    program=$(command -v "$program")
    cp -L "$program" "$made/root/bin/"
    # A program without libraries is no error.
    { ldd "$program" 2>/dev/null || true; } | { grep -o '/[^ ]*' || true; } | while read -r library; do
        [ -e "$made/root$library" ] || { mkdir -p "$made/root$(dirname "$library")"; cp -L "$library" "$made/root$library"; }
    done
done
strip --strip-debug "$made/root/bin/"* 2>/dev/null || true
same=(--owner=0 --group=0 --mtime=@0 --sort=name)
tar -C "$made/root" "${same[@]}" -cf "$made/layer.tar" .
layer=$(sha256sum "$made/layer.tar" | cut -d' ' -f1)
cat >"$made/config.json" <<JSON
{"architecture":"$(go env GOARCH)","os":"linux","config":{"User":"${IMAGE_USER:-0}","Entrypoint":["/bin/$(basename "$1")"],"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
JSON
cat >"$made/manifest.json" <<JSON
[{"Config":"config.json","RepoTags":["$name"],"Layers":["layer.tar"]}]
JSON
tar -C "$made" "${same[@]}" -cf "$archive" manifest.json config.json layer.tar
