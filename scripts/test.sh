#!/bin/sh
# test.sh [VITEST ARGUMENT...]: sets the machine up, checks the sources, runs the tests and
# then looks for anything that they left behind. The last line reads "N passed, N failed".
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
sh scripts/setup.sh
. scripts/find-node.sh
find_node "$root"
PATH=$(dirname "$NODE"):$PATH
# With the npm that setup brought for this node.
case $NODE in "$root"/.tools/*) PATH=$root/.tools/node_modules/.bin:$PATH ;; esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A check counts as one test.
check() {
  echo "test: $1"
  shift
  if "$@" >"$work/output" 2>&1; then
    echo passed >>"$work/checks"
  else
    echo failed >>"$work/checks"
    cat "$work/output"
  fi
}

check 'types' node_modules/.bin/tsc --noEmit
check 'format and lint' node_modules/.bin/biome check .
check 'imports' node_modules/.bin/depcruise --config .dependency-cruiser.cjs src

# Orphans are handed to catatonit, so that none gets lost among the host's processes.
echo 'test: tests'
code=0
LEAK_CHECK=on catatonit -- node node_modules/vitest/vitest.mjs run \
  --reporter=default --reporter=json --outputFile.json="$work/results.json" "$@" || code=$?
node scripts/summary.ts "$work/results.json" "$work/checks" "$code"
