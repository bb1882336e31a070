import { expect, test } from 'vitest';
import { ContainerAdjustment, type DeepPartial, Field } from '../../gen/nri/v1alpha1/api.ts';
import { claimsOf } from './claims.ts';
import { combine } from './combine.ts';
import { Owners } from './owners.ts';

const message = (wanted: DeepPartial<ContainerAdjustment>) =>
  ContainerAdjustment.fromPartial(wanted);
const value = { value: 1n };

/** Something of each field that a plugin can set. */
const EVERYTHING = message({
  annotations: { a: '1' },
  mounts: [{ destination: '/m' }],
  env: [{ key: 'E' }],
  args: ['x'],
  hooks: { poststop: [{ path: '/h' }] },
  rlimits: [{ type: 'RLIMIT_CORE' }],
  CDIDevices: [{ name: 'd' }],
  linux: {
    devices: [{ path: '/dev/x' }],
    cgroupsPath: '/c',
    oomScoreAdj: value,
    ioPriority: {},
    seccompPolicy: {},
    namespaces: [{ type: 'pid' }],
    sysctl: { s: '1' },
    netDevices: { n: {} },
    scheduler: {},
    memoryPolicy: {},
    rdt: {
      closId: { value: 'r' },
      schemata: { value: [] },
      enableMonitoring: { value: true },
    },
    resources: {
      memory: {
        ...{ limit: value, reservation: value, swap: value, kernel: value, kernelTcp: value },
        ...{ swappiness: value, disableOomKiller: { value: true }, useHierarchy: { value: true } },
      },
      cpu: {
        ...{ shares: value, quota: value, period: value, realtimeRuntime: value },
        ...{ realtimePeriod: value, cpus: '0', mems: '0' },
      },
      pids: { limit: 1n },
      hugepageLimits: [{ pageSize: '2MB' }],
      blockioClass: { value: 'b' },
      rdtClass: { value: 'r' },
      unified: { u: '1' },
    },
  },
});

test('each field is claimed', () => {
  const fields = claimsOf(EVERYTHING).map(({ field }) => field);
  const all = Object.values(Field).filter((field) => field !== Field.None);
  expect(fields.toSorted((a, b) => a - b)).toEqual(all);
});

test('two plugins contend over all that both set but hooks', () => {
  for (const claim of claimsOf(EVERYTHING)) {
    const owners = new Owners();
    owners.claim('c', [claim], '10-a');
    owners.claim('c', [claim], '10-a');
    owners.claim('other', [claim], '20-b');
    const contend = () => owners.claim('c', [claim], '20-b');
    if (claim.field === Field.OciHooks) contend();
    else expect(contend).toThrow(/NRI plugins "10-a" and "20-b" both set \w+/);
  }
});

test('what a plugin takes away is free; claims that fail hold nothing', () => {
  const owners = new Owners();
  const claims = (...keys: string[]) => claimsOf(message({ env: keys.map((key) => ({ key })) }));
  owners.claim('c', claims('A'), '10-a');
  expect(() => owners.claim('c', claims('B', 'A'), '20-b')).toThrow('both set Env "A"');
  owners.claim('c', claims('-A', 'A'), '20-b');
  owners.claim('c', claims('B'), '30-c');
  expect(owners.toMessage().owners['c']?.compound[Field.Env]?.owners).toEqual({
    A: '20-b',
    B: '30-c',
  });
});

test('adjustments are combined for those who judge them', () => {
  const combined = combine(
    message({
      annotations: { a: '1', b: '1' },
      env: [
        { key: 'E', value: '1' },
        { key: 'F', value: '1' },
      ],
      hooks: { poststop: [{ path: '/h' }] },
      args: ['x'],
      linux: { resources: { cpu: { cpus: '0', shares: value } }, cgroupsPath: '/c' },
    }),
    message({
      annotations: { '-a': '', c: '2' },
      env: [{ key: '-E' }, { key: 'F', value: '2' }],
      hooks: { poststop: [{ path: '/h' }] },
      linux: { resources: { cpu: { mems: '1' }, pids: { limit: 5n } } },
    }),
  );
  expect(combined).toEqual(
    message({
      annotations: { b: '1', '-a': '', c: '2' },
      env: [{ key: '-E' }, { key: 'F', value: '2' }],
      hooks: { poststop: [{ path: '/h' }, { path: '/h' }] },
      args: ['x'],
      linux: {
        resources: { cpu: { cpus: '0', mems: '1', shares: value }, pids: { limit: 5n } },
        cgroupsPath: '/c',
      },
    }),
  );
});
