import { describe, expect, test } from 'vitest';
import { ContainerAdjustment, type DeepPartial } from '../../gen/nri/v1alpha1/api.ts';
import type { RuntimeConfig } from '../../oci/spec/index.ts';
import { adjustSpec } from './adjust-spec.ts';

const SPEC: RuntimeConfig = {
  ociVersion: '1.0.2',
  process: {
    user: { uid: 0, gid: 0 },
    args: ['sh'],
    env: ['PATH=/bin', 'MODE=a'],
    cwd: '/',
    rlimits: [{ type: 'RLIMIT_CORE', hard: 1, soft: 1 }],
  },
  root: { path: '/rootfs' },
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/data', type: 'bind', source: '/a' },
  ],
  annotations: { kept: '1', gone: '2' },
  linux: {
    namespaces: [{ type: 'mount' }, { type: 'network', path: '/net' }],
    sysctl: { 'net.a': '1' },
    resources: { devices: [{ allow: false, access: 'rwm' }] },
    cgroupsPath: '/pod/x',
    devices: [],
    rootfsPropagation: 'private',
  },
};

const NEW = { ociVersion: '1.3.0', hasOwnKernel: false };
const OLD = { ...NEW, ociVersion: '1.0.2-dev' };

function adjust(wanted: DeepPartial<ContainerAdjustment>, runtime = NEW): RuntimeConfig {
  const before = structuredClone(SPEC);
  const adjusted = adjustSpec(SPEC, ContainerAdjustment.fromPartial(wanted), runtime);
  expect(SPEC).toEqual(before);
  return adjusted;
}

const linux = (wanted: DeepPartial<ContainerAdjustment['linux'] & {}>, runtime = NEW) =>
  adjust({ linux: wanted }, runtime).linux;

test('an adjustment of nothing changes nothing', () => {
  expect(adjust({})).toEqual(SPEC);
  expect(adjust({ linux: {} })).toEqual(SPEC);
});

test('annotations are set and removed', () => {
  const annotations = { new: '3', '-gone': '', '-never': '' };
  expect(adjust({ annotations }).annotations).toEqual({ kept: '1', new: '3' });
});

describe('mounts', () => {
  const at = (destination: string, options: string[] = []) => ({
    ...{ destination, type: 'bind', source: '/s', options },
  });
  const places = (spec: RuntimeConfig) => spec.mounts.map(({ destination }) => destination);

  test('are added by depth, replaced and removed', () => {
    expect(places(adjust({ mounts: [at('/data/x/y'), at('/data/x')] }))).toEqual([
      ...['/proc', '/data', '/data/x', '/data/x/y'],
    ]);
    expect(adjust({ mounts: [at('/data', ['ro'])] }).mounts.at(-1)).toEqual(at('/data', ['ro']));
    expect(places(adjust({ mounts: [{ destination: '-/data' }] }))).toEqual(['/proc']);
    expect(places(adjust({ mounts: [{ destination: '-/data' }, at('/data')] }))).toEqual([
      ...['/proc', '/data'],
    ]);
  });

  test('that follow the host need a root that does', () => {
    const propagation = (option: string) =>
      adjust({ mounts: [at('/m', [option])] }).linux.rootfsPropagation;
    expect(propagation('rbind')).toBe('private');
    expect(propagation('rslave')).toBe('rslave');
    expect(propagation('rshared')).toBe('rshared');
  });

  test('need absolute places', () => {
    expect(() => adjust({ mounts: [at('data')] })).toThrow('a mount at "data"');
    expect(() => adjust({ mounts: [at('/a/../b')] })).toThrow('that is no absolute path');
  });
});

describe('the process', () => {
  const process = (wanted: DeepPartial<ContainerAdjustment>) => adjust(wanted).process;

  test('gets variables, and loses them', () => {
    const env = [{ key: '-PATH' }, { key: 'MODE', value: 'b=c' }];
    expect(process({ env }).env).toEqual(['MODE=b=c']);
    expect(() => process({ env: [{ key: 'A=B', value: '' }] })).toThrow('variable "A=B"');
    expect(() => process({ env: [{ key: '', value: 'x' }] })).toThrow('variable ""');
  });

  test('gets other arguments', () => {
    expect(process({ args: ['ls', '-l'] }).args).toEqual(['ls', '-l']);
    expect(process({ args: ['', 'ls'] }).args).toEqual(['ls']);
    expect(() => process({ args: [''] })).toThrow('a process needs a program');
  });

  test('gets limits of 64 bits', () => {
    const infinity = 18446744073709551615n;
    const rlimits = [
      { type: 'RLIMIT_NOFILE', hard: infinity, soft: 3n },
      { type: 'RLIMIT_CORE', hard: 2n, soft: 2n },
    ];
    expect(process({ rlimits }).rlimits).toEqual([
      { type: 'RLIMIT_NOFILE', hard: infinity, soft: 3 },
      { type: 'RLIMIT_CORE', hard: 2, soft: 2 },
    ]);
  });

  test('gets an I/O priority and a scheduler where the runtime knows them', () => {
    const ioPriority = { class: 2, priority: 3 } as const;
    const scheduler = { policy: 7, nice: 5, flags: [0, 3], runtime: 10n } as const;
    const wanted = { linux: { ioPriority, scheduler: { ...scheduler, flags: [0, 3] } } } as never;
    expect(process(wanted)).toMatchObject({
      ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 3 },
      scheduler: {
        policy: 'SCHED_DEADLINE',
        nice: 5,
        flags: ['SCHED_FLAG_RESET_ON_FORK', 'SCHED_FLAG_KEEP_POLICY'],
        runtime: 10,
      },
    });
    expect(() => adjust(wanted, OLD)).toThrow(
      'Cannot set the I/O priority of a container: its OCI runtime knows 1.0.2-dev',
    );
    expect(() => adjust({ linux: { scheduler: { policy: 3 } } }, OLD)).toThrow(
      'Cannot set the scheduler',
    );
    expect(process({ linux: { ioPriority: { class: 0 }, scheduler: { policy: 0 } } })).toEqual(
      SPEC.process,
    );
  });
});

test('hooks add up', () => {
  const hook = (path: string) => ({ path, args: ['h'], timeout: { value: 3n } });
  const { hooks } = adjust({
    hooks: { prestart: [hook('/a')], poststop: [{ path: '/b', env: ['X=1'] }] },
  });
  expect(hooks).toEqual({
    prestart: [{ path: '/a', args: ['h'], timeout: 3 }],
    poststop: [{ path: '/b', env: ['X=1'] }],
  });
  expect(() => adjust({ hooks: { prestart: [hook('a')] } })).toThrow('hook "a"');
});

describe('devices', () => {
  const device = { path: '/dev/x', type: 'c', major: 1n, minor: 3n, fileMode: { value: 0o600 } };

  test('come with the right to use them, and go with it', () => {
    const node = { path: '/dev/x', type: 'c', major: 1, minor: 3, fileMode: 0o600 };
    const rule = { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' };
    const added = linux({ devices: [device] });
    expect(added.devices).toEqual([node]);
    expect(added.resources.devices).toEqual([{ allow: false, access: 'rwm' }, rule]);
    const removed = adjustSpec(
      { ...SPEC, linux: added },
      ContainerAdjustment.fromPartial({ linux: { devices: [{ path: '-/dev/x' }] } }),
      NEW,
    );
    expect(removed).toEqual(SPEC);
  });

  test('have rules of their own too', () => {
    const rules = [{ allow: true, type: 'b', major: { value: 8n }, access: 'r' }];
    expect(linux({ resources: { devices: rules } }).resources.devices?.at(-1)).toEqual({
      ...{ allow: true, type: 'b', major: 8, access: 'r' },
    });
    expect(() => linux({ resources: { devices: [{ type: 'q' }] } })).toThrow('device rule');
  });

  test('have a path and a type', () => {
    expect(() => linux({ devices: [{ ...device, type: 'x' }] })).toThrow('of type "x"');
    expect(() => linux({ devices: [{ ...device, path: 'x' }] })).toThrow('an absolute path');
  });

  test('of CDI are looked up by pods; those with a kernel of their own have none', () => {
    const wanted = { CDIDevices: [{ name: 'a.b/c=d' }] };
    expect(adjust(wanted)).toEqual(adjust({}));
    expect(() => adjust(wanted, { ...NEW, hasOwnKernel: true })).toThrow('CDI device "a.b/c=d"');
  });
});

test('namespaces are joined, made and left', () => {
  const namespaces = [{ type: '-network' }, { type: 'pid' }, { type: 'ipc', path: '/ipc' }];
  expect(linux({ namespaces }).namespaces).toEqual([
    ...[{ type: 'mount' }, { type: 'pid' }, { type: 'ipc', path: '/ipc' }],
  ]);
  expect(() => linux({ namespaces: [{ type: 'space' }] })).toThrow('namespace "space"');
  expect(() => linux({ namespaces: [{ type: 'time' }] }, OLD)).toThrow(
    'Cannot set the time namespace',
  );
});

test('a seccomp policy takes the place of the profile', () => {
  const { seccomp } = linux({
    seccompPolicy: {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrno: { value: 38 },
      architectures: ['SCMP_ARCH_X86_64'],
      listenerPath: '/l',
      syscalls: [
        {
          names: ['read'],
          action: 'SCMP_ACT_ALLOW',
          errnoRet: { value: 1 },
          args: [{ index: 1, value: 2n ** 64n - 1n, op: 'SCMP_CMP_EQ' }],
        },
      ],
    },
  });
  expect(seccomp).toEqual({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64'],
    listenerPath: '/l',
    syscalls: [
      {
        names: ['read'],
        action: 'SCMP_ACT_ALLOW',
        errnoRet: 1,
        args: [{ index: 1, value: 18446744073709551615n, op: 'SCMP_CMP_EQ' }],
      },
    ],
  });
  expect(() => linux({ seccompPolicy: {} })).toThrow('it has no default action');
});

test('sysctls are set and removed', () => {
  expect(linux({ sysctl: { 'net.b': '2', '-net.a': '' } }).sysctl).toEqual({ 'net.b': '2' });
});

test('a cgroup takes the place of the own one', () => {
  expect(linux({ cgroupsPath: '/other' }).cgroupsPath).toBe('/other');
});

test('what came with version 1.3 of the specification needs a runtime that knows it', () => {
  const netDevices = { eth1: { name: 'lan' }, eth2: { name: '' } };
  expect(linux({ netDevices }).netDevices).toEqual({ eth1: { name: 'lan' }, eth2: {} });
  expect(linux({ memoryPolicy: { mode: 2, nodes: '0', flags: [0] } }).memoryPolicy).toEqual({
    ...{ mode: 'MPOL_BIND', nodes: '0', flags: ['MPOL_F_STATIC_NODES'] },
  });
  const rdt = { closId: { value: 'gold' }, schemata: { value: ['L3:0=f'] } };
  expect(linux({ rdt: { ...rdt, enableMonitoring: { value: true } } }).intelRdt).toEqual({
    ...{ closID: 'gold', schemata: ['L3:0=f'], enableMonitoring: true },
  });
  const old = { ...NEW, ociVersion: '1.2.1' };
  expect(() => linux({ netDevices }, old)).toThrow('Cannot set the network devices');
  expect(() => linux({ memoryPolicy: { mode: 2 } }, old)).toThrow('Cannot set the memory policy');
  expect(() => linux({ rdt }, old)).toThrow('Cannot set the RDT schemata');
  expect(linux({ rdt: { closId: { value: 'gold' } } }, old).intelRdt).toEqual({ closID: 'gold' });
});

test('an RDT class can be named either way, and taken away', () => {
  const gold = linux({ resources: { rdtClass: { value: 'gold' } } });
  expect(gold.intelRdt).toEqual({ closID: 'gold' });
  const removal = ContainerAdjustment.fromPartial({ linux: { rdt: { remove: true } } });
  expect(adjustSpec({ ...SPEC, linux: gold }, removal, NEW).linux).not.toHaveProperty('intelRdt');
});

test.each<[string, DeepPartial<ContainerAdjustment['linux'] & {}>]>([
  ['devices', { devices: [{ path: '/dev/x', type: 'c' }] }],
  ['namespaces', { namespaces: [{ type: 'pid' }] }],
  ['sysctls', { sysctl: { a: '1' } }],
  ['a cgroup', { cgroupsPath: '/x' }],
  ['a seccomp policy', { seccompPolicy: { defaultAction: 'SCMP_ACT_ALLOW' } }],
  ['limits', { resources: { pids: { limit: 1n } } }],
])('a runtime with a kernel of its own gives no %s', (what, wanted) => {
  expect(() => linux(wanted, { ...NEW, hasOwnKernel: true })).toThrow(
    `Cannot give a container ${what}: its runtime has a kernel of its own`,
  );
});
