#!/bin/sh
# checkov (https://www.checkov.io) over the Dockerfile and every overlay, after it was seen to find a planted fault.
# usage: deploy/checkov.sh BIN      BIN: the folder of uv and kubectl. checkov gets an environment of its own from uv.
set -eu
cd "$(dirname "$0")/.."
bin=$1
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT

# Not asked for: CKV_K8S_43, an image's digest: it is known when the image has been pushed (`kustomize edit set image`);
# CKV_K8S_15, pulling always: a version's image does not change, and a pod should start while the registry is down.
check() {
    "$bin/uv" tool run --quiet --from checkov==3.3.30 checkov \
        --quiet --compact --skip-download --skip-check CKV_K8S_43,CKV_K8S_15 "$@"
}

for overlay in local production gpu; do
    "$bin/kubectl" kustomize "deploy/kubernetes/overlays/$overlay" > "$rendered/$overlay.yaml"
done
sed 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' "$rendered/local.yaml" > "$rendered/planted.yaml"
if check --framework kubernetes --file "$rendered/planted.yaml" > "$rendered/said"; then
    echo "checkov: a writable root file system was not found; the check itself is broken" >&2
    exit 1
fi
grep -q CKV_K8S_22 "$rendered/said" || { cat "$rendered/said" >&2; exit 1; } # it failed for another reason
for overlay in local production gpu; do check --framework kubernetes --file "$rendered/$overlay.yaml"; done
check --framework dockerfile --file deploy/Dockerfile
echo "checkov: nothing found in three overlays and the Dockerfile"
