#!/usr/bin/env bash
# Prints a folder that holds kube-apiserver, etcd and kubectl; gets them first where they are missing.
# In this order: KUBEBUILDER_ASSETS if set; what an earlier run left in the cache folder; setup-envtest's prebuilt
# binaries; a build from the Go modules that go.mod beside this file pins. Progress goes to stderr.
#   KEYTURN_CACHE     the cache folder (default: the user's cache folder + /keyturn)
#   KEYTURN_ASSETS    "build" skips setup-envtest, for machines that cannot reach its downloads
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=$(sed -n 's|.*k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$here/go.mod")
setup_envtest=sigs.k8s.io/controller-runtime/tools/setup-envtest@release-0.24
cache=${KEYTURN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keyturn}
folder=$cache/controlplane/$version-$(go env GOOS)-$(go env GOARCH)

say() { echo "control plane: $*" >&2; }
complete() { [ -x "$1/kube-apiserver" ] && [ -x "$1/etcd" ] && [ -x "$1/kubectl" ]; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  complete "$KUBEBUILDER_ASSETS" || { say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks kube-apiserver, etcd or kubectl: unset it, or point it at a folder with all three"; exit 1; }
  echo "$KUBEBUILDER_ASSETS"; exit 0
fi
if complete "$folder"; then echo "$folder"; exit 0; fi

if [ "${KEYTURN_ASSETS:-}" != build ]; then
  say "asking setup-envtest for Kubernetes ${version#v}"
  if found=$(GOBIN= timeout 120 go run "$setup_envtest" use "${version%.*}.x" --bin-dir "$cache/envtest" -p path 2>"${TMPDIR:-/tmp}/setup-envtest.$$") && complete "$found"; then
    rm -f "${TMPDIR:-/tmp}/setup-envtest.$$"; echo "$found"; exit 0
  fi
  rm -f "${TMPDIR:-/tmp}/setup-envtest.$$"
  say "no prebuilt binaries to be had; building from the Go modules (about three minutes on two cores, once)"
fi

# Built beside the folder and moved into it one by one, so that a build cut short leaves no half-written program.
mkdir -p "$folder"
partial=$(mktemp -d "$folder.XXXXXX"); trap 'rm -rf "$partial"' EXIT
stamp=k8s.io/component-base/version; minor=${version#v1.}
flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
build() { # name, package, ldflags
  [ -x "$folder/$1" ] && return
  local start=$SECONDS; say "building $1 ..."
  (cd "$here" && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "$3" -o "$partial/$1" "$2")
  mv "$partial/$1" "$folder/$1"; say "built $1 in $((SECONDS - start)) s"
}
build etcd go.etcd.io/etcd/server/v3 "-s -w"
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$flags"
build kubectl k8s.io/kubernetes/cmd/kubectl "$flags"
complete "$folder"
echo "$folder"
