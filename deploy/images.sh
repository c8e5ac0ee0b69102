#!/bin/sh
# Build the images of services, all of them or the named ones, with docker or buildah, whichever is there.
# usage: deploy/images.sh [SERVICE...]
# settings: BUILDER (docker or buildah), TAG (0.1.0), TORCH, TORCH_INDEX_URL, EXTRAS, BUILD_OPTIONS (more of the builder's own)
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- feedback feature candidate_generation ranking recommendation trainer

if [ -z "${BUILDER:-}" ]; then # a docker without its daemon builds nothing
    if docker info >/dev/null 2>&1; then BUILDER=docker; else BUILDER=buildah; fi
fi
if ! command -v "$BUILDER" >/dev/null 2>&1; then
    echo "images: neither docker nor buildah works here; install one (sudo apt-get install -y buildah)" >&2
    exit 1
fi
builder="$BUILDER build"
[ "$BUILDER" != buildah ] || builder="$builder --format docker" # OCI's own format has no health checks

for service in "$@"; do
    image=winnow-$(echo "$service" | tr _ -):${TAG:-0.1.0}
    echo "images: $image" >&2
    # shellcheck disable=SC2086
    $builder ${BUILD_OPTIONS:-} \
        --file deploy/Dockerfile \
        --build-arg SERVICE="$service" \
        ${TORCH:+--build-arg TORCH="$TORCH"} \
        ${TORCH_INDEX_URL:+--build-arg TORCH_INDEX_URL="$TORCH_INDEX_URL"} \
        ${EXTRAS:+--build-arg EXTRAS="$EXTRAS"} \
        --tag "$image" .
done
