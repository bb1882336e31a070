import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import type { NamespaceModes, SandboxConfig } from './config.ts';
import { hostnameOf, planNamespaces, sortSysctls } from './sandbox-namespaces.ts';

function config(
  sysctls: Record<string, string> = {},
  modes: Partial<NamespaceModes> = {},
): SandboxConfig {
  const namespaces = { network: 'pod', ipc: 'pod', pid: 'container', targetId: '', ...modes };
  return { sysctls, namespaces, hostname: '' } as unknown as SandboxConfig;
}

describe('sysctls', () => {
  test.each([
    ['net.ipv4.ip_forward', 'net', 'net.ipv4.ip_forward'],
    ['net/ipv4/ip_forward', 'net', 'net.ipv4.ip_forward'],
    ['net.ipv4.conf.eth0/1.forwarding', 'net', 'net.ipv4.conf.eth0/1.forwarding'],
    ['net/ipv4/conf/eth0.1/forwarding', 'net', 'net.ipv4.conf.eth0/1.forwarding'],
    ['kernel.shm_rmid_forced', 'ipc', 'kernel.shm_rmid_forced'],
    ['kernel.msgmax', 'ipc', 'kernel.msgmax'],
    ['kernel.sem', 'ipc', 'kernel.sem'],
    ['fs/mqueue/msg_max', 'ipc', 'fs.mqueue.msg_max'],
    ['kernel.domainname', 'uts', 'kernel.domainname'],
  ] as const)('%s belongs to the %s namespace', (name, type, written) => {
    const sorted = sortSysctls(config({ [name]: '1' }));
    expect(sorted).toEqual({ net: {}, ipc: {}, uts: {}, [type]: { [written]: '1' } });
  });

  test.each([
    ...['kernel.panic', 'kernel/panic', 'vm.swappiness', 'kernel.hostname', 'fs.file-max', ''],
    ...['netx.y', 'kernel.domainname2', 'kernel/net.x', '/net/ipv4/ip_forward', 'fs.mqueuex.y'],
  ])('%j would change the whole machine', (name) => {
    expect(() => sortSysctls(config({ [name]: '1' }))).toThrow(
      `Cannot set sysctl "${name}" for a pod: it is not namespaced`,
    );
  });

  test.each([
    ['net.ipv4.ip_forward', { network: 'node' }, 'net'],
    ['kernel.domainname', { network: 'node' }, 'uts'],
    ['kernel.sem', { ipc: 'node' }, 'ipc'],
  ] as const)('%s is refused where that namespace is the host’s', (name, modes, type) => {
    expect(() => sortSysctls(config({ [name]: '1' }, modes))).toThrow(
      `the pod uses the host's ${type} namespace`,
    );
  });
});

describe('the plan', () => {
  const places = { netnsDirectory: '/run/netns', directory: '/state/pod', id: 'f'.repeat(64) };
  const plan = (modes: Partial<NamespaceModes>) => planNamespaces(config({}, modes), places);

  test('of an ordinary pod has a network, a name and IPC of its own', () => {
    expect(plan({})).toEqual({
      net: `/run/netns/keelson-${'f'.repeat(16)}`,
      uts: '/state/pod/ns/uts',
      ipc: '/state/pod/ns/ipc',
    });
  });

  test('of a pod that shares its processes has a place for them', () => {
    expect(plan({ pid: 'pod' }).pid).toBe('/state/pod/ns/pid');
  });

  test('of a pod that uses all of the host is empty', () => {
    expect(plan({ network: 'node', ipc: 'node', pid: 'node' })).toEqual({});
  });
});

test('a pod without a name has the host’s', () => {
  expect(hostnameOf({ ...config(), hostname: 'pod' })).toBe('pod');
  expect(hostnameOf(config())).toBe(hostname());
});
