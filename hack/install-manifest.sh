#!/usr/bin/env bash
# Prints everything that installs Keyturn, for kubectl apply, with the image of choice:
#   hack/install-manifest.sh KUBECTL IMAGE
set -euo pipefail
kubectl=$1 image=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The tag is what follows the last colon, unless a slash does too: that colon is of a registry's port.
name=$image tag=latest
if [[ ${image##*/} == *:* ]]; then name=${image%:*} tag=${image##*:}; fi

# kustomize takes relative paths only, so the overlay that sets the image lies inside the clone while it is used.
mkdir -p "$root/dist"
overlay=$(mktemp -d "$root/dist/.overlay.XXXXXX"); trap 'rm -rf "$overlay"' EXIT
cat >"$overlay/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../config/default]
images: [{name: keyturn, newName: "$name", newTag: "$tag"}]
EOF
"$kubectl" kustomize "$overlay"
