#!/bin/sh
# with-setup.sh [--bench] FILE [ARGUMENT...]: sets the machine up, then runs a TypeScript file.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
option=
if [ "$1" = --bench ]; then
  option=$1
  shift
fi
sh "$root/scripts/setup.sh" $option
. "$root/scripts/find-node.sh"
find_node "$root"
program=$1
shift
exec "$NODE" --disable-warning=ExperimentalWarning "$root/$program" "$@"
