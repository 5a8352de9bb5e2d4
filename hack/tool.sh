#!/usr/bin/env bash
# Prints the path of a Go program at one version, installing it first where it is missing:
#   hack/tool.sh PACKAGE VERSION
# The version is part of the file's name, so that a bump installs anew, and the folder lies outside the clone, so that a
# fresh clone does not. Progress goes to stderr.
#   KEYTURN_CACHE     the cache folder (default: the user's cache folder + /keyturn)
set -euo pipefail
package=$1 version=$2
folder=${KEYTURN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/keyturn}/bin
name=${package##*/}
program=$folder/$name-$version
if [ -x "$program" ]; then echo "$program"; exit 0; fi

# Built beside its place and moved into it, so that a build cut short leaves no half-written program.
mkdir -p "$folder"
partial=$(mktemp -d "$folder/.$name.XXXXXX"); trap 'rm -rf "$partial"' EXIT
echo "tools: building $name $version (once) ..." >&2
start=$SECONDS
GOBIN=$partial GOFLAGS= CGO_ENABLED=0 go install -trimpath -ldflags "-s -w" "$package@$version" >&2 || {
  echo "tools: cannot build $name $version: it needs the Go module proxy; see the error above" >&2; exit 1; }
mv "$partial/$name" "$program"
echo "tools: built $name in $((SECONDS - start)) s" >&2
echo "$program"
