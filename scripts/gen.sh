#!/bin/sh
# Writes src/gen anew from proto/.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/scripts/find-node.sh"
find_node "$root" || { echo 'gen: Node.js 24 or later is missing: run "sh scripts/setup.sh"' >&2; exit 1; }
PATH=$(dirname "$NODE"):$PATH

# Generated beside and then swapped in, so that no file of an earlier proto stays behind.
# The plugin writes to ../src/gen, seen from the directory given.
mkdir -p "$root/.tools/gen/proto"
rm -rf "$root/.tools/gen/src"
trap 'rm -rf "$root/.tools/gen"' EXIT
cd "$root/proto"
"$NODE" ../node_modules/@bufbuild/buf/bin/buf generate --output "$root/.tools/gen/proto"
rm -rf "$root/src/gen"
mv "$root/.tools/gen/src/gen" "$root/src/gen"
