import { describe, expect, test } from 'vitest';
import { buildRuntimeConfig } from './build.ts';
import { parseCapabilityMask } from './capabilities.ts';
import type { ContainerSpecRequest } from './container-spec.ts';

/** An ordinary container with a network and an IPC namespace of its pod. */
const ORDINARY: ContainerSpecRequest = {
  rootfs: '/run/rootfs',
  readonlyRootfs: false,
  process: {
    args: ['sleep', '1'],
    env: ['PATH=/bin'],
    cwd: '/',
    user: { uid: 1, gid: 2, additionalGids: [3] },
    terminal: false,
    noNewPrivileges: false,
    oomScoreAdj: undefined,
    apparmorProfile: undefined,
    selinuxLabel: undefined,
  },
  privileged: false,
  capabilities: { add: [], drop: [], addAmbient: [] },
  seccomp: 'default',
  namespaces: { mount: undefined, pid: undefined, network: '/run/netns/pod', ipc: '/run/ipc' },
  userMappings: undefined,
  mounts: [],
  rootfsPropagation: 'rprivate',
  mountLabel: undefined,
  devices: [],
  maskedPaths: ['/proc/kcore'],
  readonlyPaths: ['/proc/sys'],
  resources: { pids: { limit: 10 } },
  cgroupsPath: '/pod/container',
  annotations: { key: 'value' },
  host: { boundingCapabilities: parseCapabilityMask('1ffffffffff'), cgroupV2: true },
};

const build = (changes: Partial<ContainerSpecRequest> = {}) =>
  buildRuntimeConfig({ ...ORDINARY, ...changes });
const bind = (destination: string) => ({ destination, type: 'bind', source: '/x' });
const destinations = (mounts: ContainerSpecRequest['mounts']) =>
  build({ mounts }).mounts.map(({ destination }) => destination);

test('namespaces are joined by path, made without one, and left to the host', () => {
  expect(build().linux.namespaces).toEqual([
    { type: 'mount' },
    { type: 'pid' },
    { type: 'network', path: '/run/netns/pod' },
    { type: 'ipc', path: '/run/ipc' },
  ]);
});

test('what is not asked for is not written', () => {
  const config = build({ seccomp: undefined });
  expect(config.process).not.toHaveProperty('oomScoreAdj');
  expect(config.process).not.toHaveProperty('apparmorProfile');
  expect(config.linux).not.toHaveProperty('seccomp');
  expect(config.linux).not.toHaveProperty('uidMappings');
  expect(config.root).toEqual({ path: '/run/rootfs' });
});

test('what is asked of the process is written, also a score of 0', () => {
  const process = {
    ...ORDINARY.process,
    terminal: true,
    noNewPrivileges: true,
    oomScoreAdj: 0,
    apparmorProfile: 'profile',
    selinuxLabel: 'system_u:system_r:container_t:s0:c1,c2',
  };
  const mountLabel = 'system_u:object_r:container_file_t:s0:c1,c2';
  const config = build({ process, readonlyRootfs: true, mountLabel });
  expect(config.linux.mountLabel).toBe(mountLabel);
  expect(config.process).toMatchObject(process);
  expect(config.root).toEqual({ path: '/run/rootfs', readonly: true });
});

test('the default seccomp profile follows the capabilities that are granted', () => {
  const allows = (changes: Partial<ContainerSpecRequest>) =>
    build(changes).linux.seccomp?.syscalls?.some(({ names }) => names.includes('mount'));
  const capabilities = { add: ['SYS_ADMIN'], drop: [], addAmbient: [] };
  expect(allows({})).toBe(false);
  expect(allows({ capabilities })).toBe(true);
  const host = { ...ORDINARY.host, boundingCapabilities: new Set(['CAP_CHOWN']) };
  expect(allows({ capabilities, host })).toBe(false);
});

test('a profile of one’s own is taken as it is', () => {
  const seccomp = { defaultAction: 'SCMP_ACT_LOG' };
  expect(build({ seccomp }).linux.seccomp).toBe(seccomp);
});

describe('a privileged container', () => {
  const config = build({ privileged: true });

  test('is not confined by seccomp, nor are paths hidden', () => {
    expect(config.linux).not.toHaveProperty('seccomp');
    expect(config.linux).not.toHaveProperty('maskedPaths');
    expect(config.linux).not.toHaveProperty('readonlyPaths');
  });

  test('may use all devices, and write to /sys and cgroups', () => {
    expect(config.linux.resources.devices).toEqual([{ allow: true, access: 'rwm' }]);
    for (const place of ['/sys', '/sys/fs/cgroup']) {
      const mount = config.mounts.find(({ destination }) => destination === place);
      expect(mount?.options).toContain('rw');
      expect(mount?.options).not.toContain('ro');
    }
  });
});

describe('devices', () => {
  const device = { path: '/dev/fuse', type: 'c' as const, major: 10, minor: 229 };
  const fifo = { path: '/dev/fifo', type: 'p' as const, major: 0, minor: 0 };
  const { resources, devices } = build({
    devices: [
      { node: device, access: 'rw' },
      { node: fifo, access: 'rwm' },
    ],
  }).linux;

  test('are denied first, then allowed one by one', () => {
    expect(resources.devices?.[0]).toEqual({ allow: false, access: 'rwm' });
    expect(resources.devices?.slice(1).every(({ allow }) => allow)).toBe(true);
    expect(resources.devices?.at(-1)).toEqual({
      allow: true,
      type: 'c',
      major: 10,
      minor: 229,
      access: 'rw',
    });
  });

  test('appear with their nodes, and FIFOs need no rule', () => {
    expect(devices).toEqual([device, fifo]);
    expect(resources.devices?.some(({ major }) => major === 0)).toBe(false);
  });

  test('do not displace other limits', () => expect(resources.pids).toEqual({ limit: 10 }));
});

describe('mounts', () => {
  const defaults = destinations([]);

  test('come after the default ones, by depth, and in order at one depth', () => {
    const asked = ['/a/b/c', '/z', '/a', '/a/b', '/m'].map(bind);
    expect(destinations(asked)).toEqual([...defaults, '/z', '/a', '/m', '/a/b', '/a/b/c']);
  });

  test('replace the default one at the same place', () => {
    expect(destinations([bind('/proc')])).toEqual([
      ...defaults.filter((place) => place !== '/proc'),
      '/proc',
    ]);
  });

  test('on /dev replace all default ones below it', () => {
    expect(destinations([bind('/dev')])).toEqual([
      ...defaults.filter((place) => !place.startsWith('/dev')),
      '/dev',
    ]);
  });

  test('below /dev leave the others there', () => {
    expect(destinations([bind('/dev/shm'), bind('/device')])).toEqual([
      ...defaults,
      '/device',
      '/dev/shm',
    ]);
  });

  test('of /sys and cgroups are read-only', () => {
    for (const place of ['/sys', '/sys/fs/cgroup']) {
      const mount = build().mounts.find(({ destination }) => destination === place);
      expect(mount?.options).toContain('ro');
    }
  });

  test('of cgroup v2 are bound in the namespace of the host, whose options mounting would change', () => {
    const type = (changes: Partial<ContainerSpecRequest>) =>
      build(changes).mounts.find(({ destination }) => destination === '/sys/fs/cgroup')?.type;
    const { namespaces, host } = ORDINARY;
    expect(type({ namespaces: { ...namespaces, cgroup: undefined } })).toBe('cgroup');
    expect(type({ host: { ...host, cgroupV2: false } })).toBe('cgroup');
    expect(type({})).toBe('bind');
  });

  test('of mqueue are bound where a user namespace uses the IPC of the host', () => {
    const mqueue = (changes: Partial<ContainerSpecRequest>) =>
      build(changes).mounts.find(({ destination }) => destination === '/dev/mqueue')?.type;
    const userMappings = { uids: [], gids: [] };
    expect(mqueue({})).toBe('mqueue');
    expect(mqueue({ namespaces: { mount: undefined } })).toBe('mqueue');
    expect(mqueue({ userMappings })).toBe('mqueue');
    expect(mqueue({ namespaces: { mount: undefined }, userMappings })).toBe('bind');
  });
});

test('user mappings are written, and /sys is bound where its network is the host’s', () => {
  const mappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  const userMappings = { uids: mappings, gids: mappings };
  const { linux, mounts } = build({ userMappings, namespaces: { user: undefined } });
  expect(linux).toMatchObject({ uidMappings: mappings, gidMappings: mappings });
  expect(mounts.find(({ destination }) => destination === '/sys')).toMatchObject({
    type: 'bind',
    options: expect.arrayContaining(['rro']),
  });
});
