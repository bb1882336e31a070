#!/bin/sh
# Compiles src/ to JavaScript in dist/.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
sh scripts/setup.sh --build
. scripts/find-node.sh
find_node "$root"
rm -rf dist
"$NODE" node_modules/typescript/bin/tsc -p tsconfig.build.json
