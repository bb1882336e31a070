import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import {
  type DeepPartial,
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
} from '../../src/gen/runtime/v1/api.ts';
import { parseCapabilityMask } from '../../src/oci/spec/index.ts';
import { containerConfig, createContainer, type Pod, runPod } from '../harness/index.ts';
import { gvisorDiffers, gvisorIgnores, gvisorRefuses, onGvisor } from './gvisor-limits.ts';
import { codeOf, criSuite, runToEnd, shell } from './suite.ts';

const suite = criSuite();
let pod: Pod;
let privilegedPod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  privilegedPod = await runPod(suite.daemon, { linux: { securityContext: { privileged: true } } });
});

const UNCONFINED = { profileType: ProfileType.Unconfined };

type Security = DeepPartial<LinuxContainerSecurityContext>;

/** Runs a line of shell under a security context and answers what it wrote. */
async function say(script: string, securityContext: Security, on = pod) {
  const changes = { ...shell(`{ ${script}; } 2>&1`), linux: { securityContext } };
  return (await runToEnd(suite.daemon, on, suite.image, changes)).lines;
}

function refusal(securityContext: Security, on = pod): Promise<string> {
  const config = containerConfig(suite.image, { linux: { securityContext } });
  return codeOf(createContainer(suite.daemon, on, config));
}

async function capabilities(securityContext: Security, on = pod) {
  const lines = await say('grep ^Cap /proc/self/status', securityContext, on);
  const masks = new Map(lines.map((line) => line.split(/:\s*/) as [string, string]));
  const names = (set: string) => [...parseCapabilityMask(masks.get(set)!)].sort();
  // gVisor's kernel tells no ambient set.
  const ambient = onGvisor ? undefined : names('CapAmb');
  return { effective: names('CapEff'), bounding: names('CapBnd'), ambient };
}

/** What gVisor leaves out. */
const missing = onGvisor ? ['CAP_NET_RAW', 'CAP_PERFMON', 'CAP_BPF', 'CAP_CHECKPOINT_RESTORE'] : [];

const DEFAULTS = [
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD'],
  ...['NET_BIND_SERVICE', 'NET_RAW', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'],
]
  .map((name) => `CAP_${name}`)
  .filter((name) => !missing.includes(name));

test('a container has the usual capabilities, and no others', async () => {
  const { effective, bounding, ambient } = await capabilities({});
  expect(effective).toEqual(DEFAULTS);
  expect(bounding).toEqual(DEFAULTS);
  expect(ambient ?? []).toEqual([]);
});

test('capabilities are added and dropped by name, in any case', async () => {
  const changed = await capabilities({
    capabilities: { addCapabilities: ['net_admin'], dropCapabilities: ['CHOWN', 'Kill'] },
  });
  const expected = [...DEFAULTS, 'CAP_NET_ADMIN'].filter(
    (name) => name !== 'CAP_CHOWN' && name !== 'CAP_KILL',
  );
  expect(changed.effective).toEqual(expected.sort());
});

test('ALL is handled first, whether added or dropped', async () => {
  const bounding = await daemonCapabilities();
  const none = await capabilities({ capabilities: { dropCapabilities: ['ALL'] } });
  expect(none.effective).toEqual([]);
  const one = await capabilities({
    capabilities: { dropCapabilities: ['all'], addCapabilities: ['NET_BIND_SERVICE'] },
  });
  expect(one.effective).toEqual(['CAP_NET_BIND_SERVICE']);
  const all = await capabilities({ capabilities: { addCapabilities: ['ALL'] } });
  expect(all.effective).toEqual(bounding);
  const most = await capabilities({
    capabilities: { addCapabilities: ['ALL'], dropCapabilities: ['MKNOD'] },
  });
  expect(most.effective).toEqual(bounding.filter((name) => name !== 'CAP_MKNOD'));
});

/** What this machine and the runtime can give at all. */
async function daemonCapabilities(): Promise<string[]> {
  const text = await readFile(`/proc/${suite.daemon.pid}/status`, 'utf8');
  const own = parseCapabilityMask(/^CapBnd:\s*(\S+)/m.exec(text)![1]!);
  return [...own].filter((name) => !missing.includes(name)).sort();
}

test('a user other than root has no effective capabilities', async () => {
  const { effective, ambient } = await capabilities({ runAsUser: { value: 1000n } });
  expect({ effective, ambient: ambient ?? [] }).toEqual({ effective: [], ambient: [] });
});

test('ambient capabilities are also those of users other than root', gvisorDiffers, async () => {
  const changed = await capabilities({
    runAsUser: { value: 1000n },
    capabilities: { addAmbientCapabilities: ['NET_BIND_SERVICE'] },
  });
  expect(changed.effective).toEqual(['CAP_NET_BIND_SERVICE']);
  expect(changed.ambient).toEqual(['CAP_NET_BIND_SERVICE']);
});

test('a capability that is none is refused', async () => {
  const unknown = { capabilities: { addCapabilities: ['NO_SUCH_CAPABILITY'] } };
  expect(await refusal(unknown)).toBe('INVALID_ARGUMENT');
});

test('new privileges are refused only when asked', gvisorDiffers, async () => {
  const script = 'grep NoNewPrivs /proc/self/status';
  expect(await say(script, {})).toEqual(['NoNewPrivs:\t0']);
  expect(await say(script, { noNewPrivs: true })).toEqual(['NoNewPrivs:\t1']);
});

test('a read-only root filesystem takes no files, /dev/shm does', async () => {
  const script = 'touch /home/x || echo refused; touch /dev/shm/x && echo taken';
  const lines = await say(script, { readonlyRootfs: true });
  expect(lines.at(-2)).toBe('refused');
  expect(lines.at(-1)).toBe('taken');
  expect(lines[0]).toMatch(/Read-only file system/);
  expect(await say('echo x > /etc/resolv.conf || echo ro', { readonlyRootfs: true })).toContain(
    'ro',
  );
  expect(await say('echo x >> /etc/hosts && echo rw', {})).toEqual(['rw']);
});

test('masked paths hide what they name, read-only paths keep it', gvisorIgnores, async () => {
  const script = 'cat /proc/uptime | wc -c; cat /proc/version | wc -c; ls /proc/fs | wc -l';
  const [uptime, version] = await say(script, {
    maskedPaths: ['/proc/uptime', '/proc/no-such-file'],
    readonlyPaths: ['/proc/sys'],
  });
  expect(uptime).toBe('0');
  expect(Number(version)).toBeGreaterThan(0);
  const write = 'echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused';
  // AppArmor's default profile would forbid it, too.
  const able = { capabilities: { addCapabilities: ['NET_ADMIN'] }, apparmor: UNCONFINED };
  expect((await say(write, { ...able, readonlyPaths: ['/proc/sys'] })).at(-1)).toBe('refused');
  expect(await say(`${write}; echo end`, { ...able, readonlyPaths: [] })).toEqual(['end']);
});

test('a masked directory is empty, one made read-only takes no files', gvisorRefuses, async () => {
  const count = 'ls /var/www | wc -l; touch /var/www/x || echo refused';
  expect(await say(count, {})).toEqual(['1']);
  expect((await say(count, { maskedPaths: ['/var/www'] }))[0]).toBe('0');
  const [files, , end] = await say(count, { readonlyPaths: ['/var/www'] });
  expect([files, end]).toEqual(['1', 'refused']);
});

test('seccomp: unconfined unless asked; RuntimeDefault filters', async () => {
  const mode = 'grep ^Seccomp: /proc/self/status';
  expect(await say(mode, {})).toEqual(['Seccomp:\t0']);
  expect(await say(mode, { seccomp: { profileType: 1 } })).toEqual(['Seccomp:\t0']);
  expect(await say(mode, { seccomp: { profileType: 0 } })).toEqual(['Seccomp:\t2']);
  expect(await say(mode, { seccompProfilePath: 'runtime/default' })).toEqual(['Seccomp:\t2']);
  // Mounting needs CAP_SYS_ADMIN, and then the filter lets it through.
  const mount = 'mkdir /m && mount -t tmpfs none /m && echo mounted || echo refused';
  const admin = { capabilities: { addCapabilities: ['SYS_ADMIN'] }, apparmor: UNCONFINED };
  expect((await say(mount, { seccomp: { profileType: 0 } })).at(-1)).toBe('refused');
  expect(await say(mount, { seccomp: { profileType: 0 }, ...admin })).toEqual(['mounted']);
});

test('seccomp: a profile of the node is applied', async () => {
  const path = join(suite.daemon.directory, 'no-mkdir.json');
  const profile = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
  };
  await writeFile(path, JSON.stringify(profile));
  const script = 'mkdir /tmp/d || echo refused; touch /tmp/f && echo made';
  const expected = [expect.stringContaining('not permitted'), 'refused', 'made'];
  expect(await say(script, { seccomp: { profileType: 2, localhostRef: path } })).toEqual(expected);
  expect(await say(script, { seccompProfilePath: `localhost/${path}` })).toEqual(expected);
  const localhost = (localhostRef: string) =>
    refusal({ seccomp: { profileType: 2, localhostRef } });
  expect(await localhost('')).toBe('INVALID_ARGUMENT');
  expect(await localhost('relative.json')).toBe('INVALID_ARGUMENT');
  expect(await localhost(`${path}.absent`)).toBe('INVALID_ARGUMENT');
  await writeFile(`${path}.bad`, 'not json');
  expect(await localhost(`${path}.bad`)).toBe('INVALID_ARGUMENT');
  expect(await refusal({ seccompProfilePath: 'no/such/kind' })).toBe('INVALID_ARGUMENT');
});

test('a privileged container has all devices and may write', gvisorDiffers, async () => {
  const privileged = { privileged: true };
  const lines = await say(
    [
      'grep ^Seccomp: /proc/self/status',
      'grep " /sys sysfs" /proc/mounts | cut -d" " -f4 | cut -d, -f1',
      'grep -q " /proc/sys " /proc/mounts && echo read-only || echo writable',
      'test -c /dev/kmsg -o -c /dev/loop-control -o -c /dev/fuse && echo devices',
      'mknod /tmp/null c 1 3 && echo x > /tmp/null && echo made',
    ].join('; '),
    { ...privileged, seccomp: { profileType: 0 }, maskedPaths: ['/proc/uptime'] },
    privilegedPod,
  );
  expect(lines).toEqual(['Seccomp:\t0', 'rw', 'writable', 'devices', 'made']);
});

test('a privileged container has all capabilities', async () => {
  const { effective } = await capabilities({ privileged: true }, privilegedPod);
  expect(effective).toEqual(await daemonCapabilities());
});

test('a privileged container needs a privileged pod', async () => {
  expect(await refusal({ privileged: true })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ privileged: true }, privilegedPod)).toBe('OK');
});

test('a device that was not asked for cannot be used, even when it is made', async () => {
  const script = 'mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem > /dev/null || echo refused';
  expect((await say(script, {})).at(-1)).toBe('refused');
});

test('AppArmor: a profile that the host cannot have is refused, none and unconfined are not', async () => {
  const localhost = { profileType: ProfileType.Localhost, localhostRef: 'no-such-profile' };
  expect(await refusal({ apparmor: localhost })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ apparmorProfile: 'localhost/no-such-profile' })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ apparmor: { profileType: ProfileType.Unconfined } })).toBe('OK');
  expect(await refusal({ apparmorProfile: 'unconfined' })).toBe('OK');
  const { info } = await suite.daemon.runtime.status({ verbose: true });
  const { apparmor } = JSON.parse(info['host']!) as { apparmor: boolean };
  const expected = apparmor ? 'OK' : 'INVALID_ARGUMENT';
  expect(await refusal({ apparmor: { profileType: ProfileType.RuntimeDefault } })).toBe(expected);
  expect(await refusal({ apparmorProfile: 'runtime/default' })).toBe(expected);
});

test('SELinux: options are taken, and Status says whether they do anything', async () => {
  const selinuxOptions = { type: 'spc_t', level: 's0:c1,c2' };
  const lines = await say('cat /proc/self/attr/current || true', { selinuxOptions });
  const { info } = await suite.daemon.runtime.status({ verbose: true });
  const { selinux } = JSON.parse(info['host']!) as { selinux: boolean };
  if (selinux) expect(lines[0]).toMatch(/:spc_t:s0:c1,c2/);
  else expect(lines.join()).not.toContain('spc_t');
  expect(await refusal({ selinuxOptions: { type: 'a:b' } })).toBe('INVALID_ARGUMENT');
});

test('users of the host do not get at what containers write', async () => {
  const { daemon, image } = suite;
  const id = await createContainer(daemon, pod, containerConfig(image));
  for (const directory of [daemon.paths.root, daemon.paths.state]) {
    const { mode } = await stat(join(directory, 'containers', id));
    expect(mode & 0o077).toBe(0);
  }
});
