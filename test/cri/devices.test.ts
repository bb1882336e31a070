import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/gen/runtime/v1/api.ts';
import {
  containerConfig,
  createContainer,
  output,
  type Pod,
  podConfig,
  runContainer,
  runPod,
} from '../harness/index.ts';
import { gvisorDiffers, gvisorRefuses } from './gvisor-limits.ts';
import { codeOf, criSuite, execIn, runToEnd, shell } from './suite.ts';

const suite = criSuite();
let pod: Pod;
let host: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  host = join(suite.daemon.directory, 'host');
  await mkdir(join(host, 'nodes/below'), { recursive: true });
  // 1:7 is /dev/full and 1:5 /dev/zero: harmless, and to be told apart.
  await output('mknod', '-m', '640', join(host, 'full'), 'c', '1', '7');
  await output('mknod', join(host, 'nodes/zero'), 'c', '1', '5');
  await output('mknod', join(host, 'nodes/below/full'), 'c', '1', '7');
  // 10:229 is /dev/fuse, which no container may use unless it is given, and then without more
  // capabilities.
  await output('mknod', join(host, 'fuse'), 'c', '10', '229');
  await writeFile(join(host, 'file'), 'no device');
  await symlink('full', join(host, 'link'));
});

async function say(script: string, devices: Partial<Device>[]): Promise<string[]> {
  const given = devices.map((device) => ({ permissions: 'rwm', ...device }));
  const changes = { ...shell(`{ ${script}; } 2>&1`), devices: given };
  return (await runToEnd(suite.daemon, pod, suite.image, changes)).lines;
}

function refusal(device: Partial<Device>): Promise<string> {
  const devices = [{ containerPath: '/dev/x', permissions: 'rwm', ...device }];
  return codeOf(createContainer(suite.daemon, pod, containerConfig(suite.image, { devices })));
}

test('a device of the host is there with its numbers, mode and owner', gvisorRefuses, async () => {
  const device = { containerPath: '/dev/own', hostPath: join(host, 'full') };
  const script = 'stat -c "%F %t:%T %a %u" /dev/own; echo x > /dev/own || echo full';
  const lines = await say(script, [device]);
  expect(lines[0]).toBe('character special file 1:7 640 0');
  expect(lines.at(-1)).toBe('full');
});

test(
  'without a path in the container it is that of the host; links are followed',
  gvisorRefuses,
  async () => {
    const hostPath = join(host, 'link');
    expect(await say(`stat -c %t:%T ${hostPath}`, [{ containerPath: '', hostPath }])).toEqual([
      '1:7',
    ]);
  },
);

test('of a directory all devices are there', gvisorRefuses, async () => {
  const directory = { containerPath: '/dev/all', hostPath: join(host, 'nodes') };
  expect(await say('stat -c %t:%T /dev/all/zero /dev/all/below/full', [directory])).toEqual([
    '1:5',
    '1:7',
  ]);
});

test('permissions are those given', gvisorRefuses, async () => {
  const device = { containerPath: '/dev/fuse', hostPath: join(host, 'fuse') };
  const open =
    'for how in "<" ">"; do sh -c "exec 3$how/dev/fuse" 2>&1 | grep -c "not permitted"; done';
  expect(await say(open, [{ ...device, permissions: 'r' }])).toEqual(['0', '1']);
  expect(await say(open, [{ ...device, permissions: 'rwm' }])).toEqual(['0', '0']);
  expect(await refusal({ hostPath: join(host, 'full'), permissions: 'x' })).toBe(
    'INVALID_ARGUMENT',
  );
  expect(await refusal({ hostPath: join(host, 'full'), permissions: '' })).toBe('INVALID_ARGUMENT');
});

test('what is no device is refused', async () => {
  expect(await refusal({ hostPath: join(host, 'file') })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ hostPath: join(host, 'absent') })).toBe('INVALID_ARGUMENT');
  expect(await refusal({ hostPath: '' })).toBe('INVALID_ARGUMENT');
});

const sysctlPod = (sysctls: Record<string, string>, namespaceOptions: object = { pid: 1 }) =>
  podConfig({ linux: { sysctls, securityContext: { namespaceOptions } } });

test(
  'sysctls of the pod are set in its namespaces, and not on the host',
  gvisorRefuses,
  async () => {
    const { daemon, image } = suite;
    const name = '/proc/sys/kernel/shm_rmid_forced';
    const sysctls = {
      'kernel.shm_rmid_forced': '1',
      'fs.mqueue.msg_max': '123',
      'net.ipv4.ip_local_port_range': '20000 20100',
      'kernel.domainname': 'example.org',
    };
    const before = await readFile(name, 'utf8');
    const sysctlConfig = sysctlPod(sysctls);
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config: sysctlConfig });
    const id = await runContainer(
      daemon,
      { id: podSandboxId, config: sysctlConfig },
      containerConfig(image),
    );
    const values = await execIn(
      daemon,
      id,
      'cd /proc/sys; cat kernel/shm_rmid_forced fs/mqueue/msg_max net/ipv4/ip_local_port_range kernel/domainname',
    );
    expect(values.split('\n')).toEqual(['1', '123', '20000\t20100', 'example.org']);
    expect(await readFile(name, 'utf8')).toBe(before);
  },
);

test(
  'low ports and pings are for everybody, unless the pod says otherwise',
  gvisorDiffers,
  async () => {
    const { daemon, image } = suite;
    const read = async (on: Pod) =>
      execIn(
        daemon,
        await runContainer(daemon, on, containerConfig(image)),
        'cd /proc/sys/net/ipv4; cat ip_unprivileged_port_start ping_group_range',
      );
    expect(await read(pod)).toBe('0\n0\t2147483647');
    const config = sysctlPod({ 'net.ipv4.ip_unprivileged_port_start': '1024' });
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
    expect(await read({ id: podSandboxId, config })).toBe('1024\n0\t2147483647');
  },
);

test('sysctls that would change the host are refused, as are those that do not exist', async () => {
  const attempt = (sysctls: Record<string, string>, options?: object) =>
    codeOf(suite.daemon.runtime.runPodSandbox({ config: sysctlPod(sysctls, options) }));
  for (const name of ['kernel.panic', 'vm.swappiness', 'fs.file-max', 'kernel.hostname']) {
    expect(await attempt({ [name]: '1' }), name).toBe('INVALID_ARGUMENT');
  }
  const onHost = { network: 2, ipc: 2, pid: 1 };
  expect(await attempt({ 'net.ipv4.ip_forward': '1' }, onHost)).toBe('INVALID_ARGUMENT');
  expect(await attempt({ 'kernel.shmmax': '1' }, onHost)).toBe('INVALID_ARGUMENT');
  expect(await attempt({ 'net.ipv4.no_such_thing': '1' })).not.toBe('OK');
  expect(await attempt({ 'net/../../kernel/panic': '1' })).not.toBe('OK');
  expect(await attempt({ 'net.ipv4.ip_local_port_range': 'nonsense' })).not.toBe('OK');
  expect((await stat('/proc/sys/kernel/panic')).isFile()).toBe(true);
  expect(hostname()).toBe((await output('hostname')).trim());
});
