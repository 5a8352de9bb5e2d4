#!/usr/bin/env bash
# Prints a folder that holds kube-apiserver, etcd and kubectl; gets them first where they are missing.
# In this order: KUBEBUILDER_ASSETS if set; what an earlier run left in the cache folder; setup-envtest's prebuilt
# binaries; a build from the Go modules that go.mod beside this file pins. Progress goes to stderr.
#   KEYTURN_CACHE     the cache folder (default: the user's cache folder + /keyturn)
#   KEYTURN_ASSETS    "build" skips setup-envtest, for machines that cannot reach its downloads
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Its version goes with that of sigs.k8s.io/controller-runtime in go.mod.
setup_envtest=sigs.k8s.io/controller-runtime/tools/setup-envtest@v0.25.1

say() { echo "control plane: $*" >&2; }
complete() { [ -x "$1/kube-apiserver" ] && [ -x "$1/etcd" ] && [ -x "$1/kubectl" ]; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  complete "$KUBEBUILDER_ASSETS" || { say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks kube-apiserver, etcd or kubectl: unset it, or point it at a folder with all three"; exit 1; }
  echo "$KUBEBUILDER_ASSETS"; exit 0
fi

version=$(sed -n 's|.*k8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$here/go.mod")
[ -n "$version" ] || { say "cannot read the version of k8s.io/kubernetes from $here/go.mod"; exit 1; }
cache=${KEYTURN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keyturn}
folder=$cache/controlplane/$version-$(go env GOOS)-$(go env GOARCH)
if complete "$folder"; then echo "$folder"; exit 0; fi

if [ "${KEYTURN_ASSETS:-}" != build ]; then
  say "asking setup-envtest for Kubernetes ${version%.*}"
  # A network that swallows packets must not hold up a build that can do without it.
  limit=; if command -v timeout >/dev/null; then limit="timeout 120"; fi
  if found=$($limit go run "$setup_envtest" use "${version#v}" --bin-dir "$cache/envtest" -p path 2>/dev/null ||
      $limit go run "$setup_envtest" use "$(sed 's/^v//; s/[0-9]*$/x/' <<<"$version")" --bin-dir "$cache/envtest" -p path 2>/dev/null) &&
      complete "$found"; then
    echo "$found"; exit 0
  fi
  say "no prebuilt binaries to be had; building from the Go modules (three to ten minutes, once)"
fi

# Built beside the folder and moved into it one by one, so that a build cut short leaves no half-written program, and
# does not begin from the start.
mkdir -p "$folder"
partial=$(mktemp -d "$folder.XXXXXX"); trap 'rm -rf "$partial"' EXIT
stamp=k8s.io/component-base/version minor=${version#v1.}
flags="-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}"
build() { # name, package, ldflags
  if [ -x "$folder/$1" ]; then return; fi
  local start=$SECONDS; say "building $1 ..."
  (cd "$here" && CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "$3" -o "$partial/$1" "$2") >&2 || {
    say "cannot build $1: it needs the Go module proxy and some 2 GiB of disk and of memory; see the error above"; exit 1; }
  mv "$partial/$1" "$folder/$1"; say "built $1 in $((SECONDS - start)) s"
}
build etcd go.etcd.io/etcd/server/v3 "-s -w"
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$flags"
build kubectl k8s.io/kubernetes/cmd/kubectl "$flags"
echo "$folder"
