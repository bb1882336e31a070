# Sourced by the launcher and by the scripts: `find_node DIR` sets NODE to a Node.js that
# runs Keelson (24 or later), or answers 1. Looks at $KEELSON_NODE, the host's node, and
# the one that setup.sh put into DIR/.tools.

node_fits() {
  node_version=$("$1" --version 2>/dev/null) || return 1
  node_major=${node_version#v}
  node_major=${node_major%%.*}
  case $node_major in '' | *[!0-9]*) return 1 ;; esac
  [ "$node_major" -ge 24 ]
}

find_node() {
  if [ -n "${KEELSON_NODE:-}" ]; then
    node_fits "$KEELSON_NODE" || {
      echo "keelson: KEELSON_NODE is \"$KEELSON_NODE\", which is no Node.js 24 or later" >&2
      return 1
    }
    NODE=$KEELSON_NODE
    return 0
  fi
  for NODE in node "$1"/.tools/node_modules/node-linux-*/bin/node; do
    if node_fits "$NODE"; then
      NODE=$(command -v "$NODE")
      return 0
    fi
  done
  NODE=
  return 1
}
