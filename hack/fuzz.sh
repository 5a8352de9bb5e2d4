#!/usr/bin/env bash
# Runs every fuzz target of the module for a while, one after the other:
#   hack/fuzz.sh AMOUNT      executions such as 50000x, or a duration such as 1m
# A failing input is printed, and written to the package's testdata/fuzz: check it in with the fix.
set -euo pipefail
amount=$1 count=0

# Every input that reaches new code is minimized first, for up to a minute by default: a short run would do nothing else.

# Only packages that have targets are asked for their names, because asking means compiling.
folders=$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u || true)
for folder in $folders; do
  listing=$(go test -list '^Fuzz' "$folder") || { echo "$listing"; exit 1; }
  for target in $(grep '^Fuzz' <<<"$listing" || true); do
    start=$SECONDS count=$((count + 1))
    output=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$amount" -fuzzminimizetime 10x "$folder" 2>&1) || {
      echo "$output"; echo "fuzz: $target in $folder failed"; exit 1; }
    executions=$(grep -o 'execs: [0-9]*' <<<"$output" | tail -1 || true)
    echo "fuzz: $target in $folder: ${executions:-no execs beside its seeds} in $((SECONDS - start)) s"
  done
done
if [ "$count" = 0 ]; then echo "fuzz: found no fuzz targets: run this in the root of a clone"; exit 1; fi
echo "fuzz: $count targets, none failed"
