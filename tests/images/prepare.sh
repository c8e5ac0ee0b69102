#!/bin/sh
# What the tests of images need on a Debian machine without docker and without an image registry: the tools, and a
# stand-in for the Dockerfile's base image, made of Debian's packages and tagged with the real one's name.
set -eu
base=$(sed -n 's/^FROM \([^ ]*\)$/\1/p' "$(dirname "$0")/../../deploy/Dockerfile")
suite=bookworm # of the base image

missing=""
for tool in buildah podman mmdebstrap runc; do command -v $tool >/dev/null 2>&1 || missing="$missing $tool"; done
[ -x /usr/lib/podman/netavark ] || missing="$missing netavark aardvark-dns"
if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || { echo "images: missing:$missing. Get them with: sudo apt-get install -y$missing" >&2; exit 1; }
    apt-get update -q >/dev/null
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
fi

if buildah inspect --type image "docker.io/library/$base" >/dev/null 2>&1; then exit 0; fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,python-is-python3,ca-certificates \
    "$suite" "$folder/base.tar" http://deb.debian.org/debian
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/base.tar" / >/dev/null
buildah config --cmd python3 "$container"
buildah commit --quiet "$container" "docker.io/library/$base" >/dev/null
buildah rm "$container" >/dev/null
