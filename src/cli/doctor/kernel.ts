import { readFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ifExists, readTextIfExists } from '../../base/index.ts';
import { cgroupLayout, listMounts } from '../../linux/index.ts';
import { type Finding, missing, note, ok } from './finding.ts';

/** Kernel options, and what is lost without each. */
const REQUIRED_OPTIONS: Readonly<Record<string, string>> = {
  NET_NS: 'network namespaces',
  PID_NS: 'PID namespaces',
  IPC_NS: 'IPC namespaces',
  UTS_NS: 'host names of their own',
  OVERLAY_FS: 'the file systems of containers',
  MEMCG: 'memory limits',
};

const WANTED_OPTIONS: Readonly<Record<string, string>> = {
  VETH: 'the bridge network',
  BRIDGE: 'the bridge network',
  NF_NAT: 'host ports and masquerading',
  SECCOMP_FILTER: 'seccomp profiles',
  USER_NS: 'pods with user namespaces',
  CGROUP_PIDS: 'limits on processes',
  POSIX_MQUEUE: '/dev/mqueue',
};

const CONTROLLERS = ['cpu', 'memory', 'pids'] as const;

/** The kernel, its options, its cgroups and how mounts spread. */
export async function kernelFindings(): Promise<Finding[]> {
  return [
    ok('kernel', `${release()} (${arch()})`),
    ...(await optionFindings()),
    ...(await cgroupFindings()),
    overlayFinding((await readTextIfExists('/proc/filesystems')) ?? ''),
    propagationFinding(),
    ...(await securityFindings()),
  ];
}

async function optionFindings(): Promise<Finding[]> {
  const config = await kernelConfig();
  if (config === undefined) {
    return [note('kernel options', 'not published by this kernel', 'nothing to do')];
  }
  const has = (name: string) => new RegExp(`^CONFIG_${name}=[ym]$`, 'm').test(config);
  const lacking = (options: Readonly<Record<string, string>>) =>
    Object.entries(options).filter(([name]) => !has(name));
  const remedy = (name: string) => `use a kernel with CONFIG_${name}`;
  const findings = [
    ...lacking(REQUIRED_OPTIONS).map(([name, use]) =>
      missing('kernel options', `no CONFIG_${name}: ${use}`, remedy(name)),
    ),
    ...lacking(WANTED_OPTIONS).map(([name, use]) =>
      note('kernel options', `no CONFIG_${name}: ${use}`, remedy(name)),
    ),
  ];
  const count = Object.keys(REQUIRED_OPTIONS).length + Object.keys(WANTED_OPTIONS).length;
  return findings.length > 0 ? findings : [ok('kernel options', `all ${count} looked for`)];
}

async function kernelConfig(): Promise<string | undefined> {
  const packed = await ifExists(readFile('/proc/config.gz'));
  if (packed !== undefined) return (await promisify(gunzip)(packed)).toString('latin1');
  return readTextIfExists(`/boot/config-${release()}`);
}

async function cgroupFindings(): Promise<Finding[]> {
  const layout = cgroupLayout();
  if (layout.mountpoints.size === 0) {
    const remedy = 'mount -t cgroup2 none /sys/fs/cgroup';
    return [missing('cgroups', 'not mounted', remedy)];
  }
  const unified = layout.mode === 'unified';
  const own = layout.mountpoints.get('') ?? '/sys/fs/cgroup';
  const text = unified ? ((await readTextIfExists(`${own}/cgroup.controllers`)) ?? '') : '';
  const there = new Set(unified ? text.trim().split(' ') : layout.mountpoints.keys());
  const absent = CONTROLLERS.filter((name) => !there.has(name));
  const remedy = 'boot with cgroup_enable=memory, and see /proc/cgroups';
  return [
    unified
      ? ok('cgroups', 'v2')
      : note(
          'cgroups',
          layout.mode === 'hybrid' ? 'v1 beside v2' : 'v1',
          'works; boot with systemd.unified_cgroup_hierarchy=1 for v2 and its better statistics',
        ),
    ...absent.map((name) => missing('cgroups', `no controller "${name}"`, remedy)),
  ];
}

function overlayFinding(filesystems: string): Finding {
  return /^(nodev)?\s*overlay$/m.test(filesystems)
    ? ok('overlayfs', 'there')
    : missing('overlayfs', 'the kernel has not got it, or not loaded it', 'modprobe overlay');
}

function propagationFinding(): Finding {
  const root = listMounts().findLast(({ target }) => target === '/');
  return root?.propagation.some((flag) => flag.startsWith('shared:'))
    ? ok('mount propagation', '/ is shared')
    : note(
        'mount propagation',
        '/ is private: volumes with HostToContainer or Bidirectional propagation fail',
        'mount --make-rshared /',
      );
}

async function securityFindings(): Promise<Finding[]> {
  const actions = await readTextIfExists('/proc/sys/kernel/seccomp/actions_avail');
  const apparmor = await readTextIfExists('/sys/module/apparmor/parameters/enabled');
  const selinux = await readTextIfExists('/sys/fs/selinux/enforce');
  const modules = [
    ...(apparmor?.startsWith('Y') ? ['AppArmor'] : []),
    ...(selinux === undefined ? [] : ['SELinux']),
  ];
  return [
    actions === undefined
      ? note('seccomp', 'not in this kernel: profiles are refused', 'use one with seccomp')
      : ok('seccomp', 'there'),
    ok('security modules', modules.join(', ') || 'neither AppArmor nor SELinux is active'),
  ];
}
