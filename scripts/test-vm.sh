#!/bin/sh
# test-vm.sh [VITEST ARGUMENT...]: runs tests under Debian's own kernel, in qemu, on a machine
# with cgroup v2 only. For what the kernel here may lack: ipvlan, VLANs, dummy links, VRFs;
# and with two network cards that are connected to each other, for tests to take away.
# Without arguments it runs the tests that such a machine is for. Emulated, so slow: half a minute
# to begin with, and minutes for each file (VM_TIMEOUT, in seconds, ends it). TEST_RUNTIME counts
# there, too. Needs root and apt-get (for the kernel, AppArmor and qemu, which are kept or installed).
#
# The machine sees the files of this one, read-only by virtiofs; what it writes is in its
# memory and gone with it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
sh scripts/setup.sh
. scripts/find-node.sh
find_node "$root"
# cni/: what that kernel has; cri/: cgroup v2, AppArmor, and a kernel that Debian's criu can checkpoint.
cri() { printf 'test/cri/%s.test.ts ' "$@"; }
[ $# -gt 0 ] || set -- test/cni/plugins-kernel.test.ts test/cni/plugins-cards.test.ts \
  $(cri checkpoint apparmor containers resources cgroup-mounts update-resources statistics metrics) \
  $(cri security user-namespaces handlers) test/attacks/escapes.test.ts

command -v qemu-system-x86_64 >/dev/null && [ -x /usr/lib/qemu/virtiofsd ] || {
  echo 'test-vm: installing qemu'
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-system-x86 >/dev/null
}

# The kernel package is unpacked, not installed: nothing of this host changes.
kernel=$root/.tools/vm
if [ ! -e "$kernel/vmlinuz" ]; then
  mkdir -p "$kernel"
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
  echo "test-vm: fetching $package"
  (cd "$kernel" && apt-get -o APT::Sandbox::User=root download -qq "$package")
  dpkg -x "$kernel/$package"_*.deb "$kernel/package"
  rm -f "$kernel/$package"_*.deb
  ln -sf "$(cd "$kernel" && echo package/boot/vmlinuz-*)" "$kernel/vmlinuz"
fi

# AppArmor's parser and what policies include: for the machine alone, not for this host.
if [ ! -e "$kernel/apparmor" ]; then
  echo 'test-vm: fetching apparmor'
  (cd "$kernel" && apt-get -o APT::Sandbox::User=root download -qq apparmor)
  dpkg -x "$kernel"/apparmor_*.deb "$kernel/apparmor.package"
  rm -f "$kernel"/apparmor_*.deb
  mkdir -p "$kernel/apparmor.new/usr/sbin"
  cp -r "$kernel/apparmor.package/etc" "$kernel/apparmor.package/usr" "$kernel/apparmor.new/"
  # On the host /sbin is a link, which a directory would hide.
  cp "$kernel/apparmor.package/sbin/apparmor_parser" "$kernel/apparmor.new/usr/sbin/"
  rm -r "$kernel/apparmor.package"
  mv "$kernel/apparmor.new" "$kernel/apparmor"
fi

# Emulated, Node takes most of a minute to read the daemon's sources, and now and then crashes at
# it: what it compiles on this host, whose processor the machine's resembles, spares it that.
compiled=$kernel/compiled
NODE_COMPILE_CACHE=$compiled "$NODE" --disable-warning=ExperimentalWarning --input-type=module \
  --eval "await import('./src/daemon.ts'); await import('./src/cli/index.ts')"
NODE_COMPILE_CACHE=$compiled "$NODE" node_modules/vitest/vitest.mjs run src/base/ids.test.ts >/dev/null

work=$(mktemp -d)
finish() {
  [ -z "${server:-}" ] || kill "$server" 2>/dev/null || :
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Busybox, the modules and test/vm/init: the kernel asks this root for modules all along.
mkdir -p "$work/ram/bin" "$work/ram/sbin" "$work/ram/lib"
cp "$(command -v busybox)" "$work/ram/bin/busybox"
ln -s ../bin/busybox "$work/ram/sbin/modprobe"
cp -r "$kernel/package/lib/modules" "$work/ram/lib/"
busybox depmod -b "$work/ram" "$(basename "$kernel"/package/lib/modules/*)"
cp -r "$kernel/apparmor" "$work/ram/apparmor"
cp test/vm/init "$work/ram/init"
chmod 755 "$work/ram/init"
echo "$root" >"$work/ram/checkout"
{
  printf "cd '%s'\n" "$root"
  printf "export NODE_COMPILE_CACHE='%s'\n" "$compiled"
  [ -z "${TEST_RUNTIME:-}" ] || printf "export TEST_RUNTIME='%s'\n" "$TEST_RUNTIME"
  printf "exec '%s' node_modules/vitest/vitest.mjs run --testTimeout=300000 --hookTimeout=300000 --no-color" "$NODE"
  # One file at a time, and a line for each test as it ends: there is much to wait for.
  printf ' --no-file-parallelism --reporter=verbose'
  printf " '%s'" "$@"
  echo
} >"$work/ram/run"
(cd "$work/ram" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initramfs"

# What is below / here, without the file systems mounted on it, and not to be written to.
unshare -m sh -c "
  mkdir '$work/share' && mount --bind / '$work/share' && mount -o remount,bind,ro '$work/share'
  exec /usr/lib/qemu/virtiofsd --socket-path='$work/fs.sock' -o source='$work/share' \
    -o cache=always -o sandbox=chroot -o log_level=err
" &
server=$!
while [ ! -S "$work/fs.sock" ]; do
  kill -0 "$server"
  sleep 0.1
done

memory=4096
timeout "${VM_TIMEOUT:-5400}" qemu-system-x86_64 -nodefaults -no-reboot -display none -serial stdio \
  -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory" \
  -object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa node,memdev=memory \
  -netdev hubport,id=net0,hubid=0 -device virtio-net-pci,netdev=net0,addr=0x10 \
  -netdev hubport,id=net1,hubid=0 -device virtio-net-pci,netdev=net1,addr=0x11 \
  -chardev "socket,id=fs,path=$work/fs.sock" -device vhost-user-fs-pci,chardev=fs,tag=host \
  -kernel "$kernel/vmlinuz" -initrd "$work/initramfs" \
  -append 'console=ttyS0 quiet panic=-1 no_timer_check apparmor=1 security=apparmor rdinit=/init' </dev/null | tee "$work/output"
grep -q '^test-vm: ended with 0' "$work/output"
