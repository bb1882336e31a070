import { expect, test } from 'vitest';
import { toContainerConfig } from '../../src/cri/container-config.ts';
import { toSandboxConfig } from '../../src/cri/sandbox-config.ts';
import { ContainerConfig, PodSandboxConfig } from '../../src/gen/runtime/v1/api.ts';
import { expectedResults, hasCode, hasTest, readPage } from './page.ts';
import { configProperties, type Property } from './reads.ts';
import { type Visit, walk } from './walk.ts';

const MAPPING = { hostId: 100_000, containerId: 0, length: 65_536 };

/** What messages must hold to be taken. */
const minimal = {
  PodSandboxConfig: { metadata: { name: 'pod', namespace: 'default', uid: 'uid' } },
  ContainerConfig: { metadata: { name: 'container' }, image: { image: 'busybox' } },
  ImageSpec: { image: 'busybox' },
  Mount: { hostPath: '/source', containerPath: '/target' },
  CDIDevice: { name: 'vendor.example/class=one' },
  Device: { hostPath: '/dev/null', permissions: 'r' },
  KeyValue: { key: 'NAME' },
  PortMapping: { containerPort: 80 },
  SecurityProfile: { profileType: 2, localhostRef: '/profile' },
  IDMapping: MAPPING,
  UserNamespace: { mode: 0, uids: [MAPPING], gids: [MAPPING] },
};

const values = {
  'PortMapping.host_ip': ['10.0.0.1'],
  'Mount.mount_options': ['noexec'],
  'LinuxContainerSecurityContext.apparmor_profile': ['localhost/profile'],
  'LinuxContainerSecurityContext.seccomp_profile_path': ['localhost/profile'],
  'LinuxSandboxSecurityContext.seccomp_profile_path': ['localhost/profile'],
  'SELinuxOption.level': ['s0:c1,c2'],
};

/** What must stand beside fields. */
const beside = {
  'LinuxSandboxSecurityContext.run_as_group': { runAsUser: { value: 1n } },
  'Mount.image': { hostPath: '', readonly: true },
  'Mount.image_sub_path': { hostPath: '', readonly: true, image: { image: 'busybox' } },
};

/** Fields that nobody need look at, and why. */
const WITHOUT_EFFECT = new Map([
  [
    'LinuxSandboxSecurityContext.readonly_rootfs',
    "the root filesystem of a pod's own process is read-only always",
  ],
  [
    'LinuxSandboxSecurityContext.supplemental_groups_policy',
    "the pod's own process has no image, so both policies mean the same",
  ],
]);

/**
 * Fields whose every value is refused, by name or place: those of Windows, and a user
 * namespace that maps other ids than root's on.
 */
const REFUSED = /^Windows|usernsOptions\.[ug]ids\.containerId$/;

const visits = [
  ...walk({
    root: 'PodSandboxConfig',
    convert: (config: object) => toSandboxConfig(PodSandboxConfig.fromPartial(config)),
    minimal,
    beside,
    values,
  }),
  ...walk({
    root: 'ContainerConfig',
    convert: (config: object) => toContainerConfig(ContainerConfig.fromPartial(config)),
    minimal,
    beside,
    values,
  }),
];

test('each field that a pod or container can be given changes something, or is refused', () => {
  expect(visits.length).toBeGreaterThan(150);
  const forgotten = visits.filter(({ outcome }) => outcome === 'ignored');
  expect([...new Set(forgotten.map(({ field }) => field))]).toEqual([...WITHOUT_EFFECT.keys()]);
  const refused = visits.filter(({ outcome }) => outcome === 'refused');
  const named = (visit: Visit) => REFUSED.test(visit.field) || REFUSED.test(visit.path);
  expect(refused.filter((visit) => !named(visit))).toEqual([]);
});

/** What is kept to be told again, and nothing else. */
const TOLD: readonly Property[] = [
  'SandboxConfig.labels',
  'SandboxConfig.overhead',
  'SandboxConfig.resources',
  'ContainerConfig.labels',
  'ImageReference.annotations',
  'ImageReference.imageRef',
];

test('each value that is kept of it is read by the code that makes pods', () => {
  const { declared, read } = configProperties();
  expect(declared.size).toBeGreaterThan(70);
  const unread = [...declared].filter((property) => !read.has(property));
  expect(unread.sort()).toEqual(TOLD.toSorted());
});

test('docs/fields.md has each field once, and code and tests that are there', () => {
  const rows = readPage();
  const walked = visits.map(({ field }) => field).filter((field) => !field.startsWith('Windows'));
  expect(rows.map(({ field }) => field).sort()).toEqual([...new Set(walked)].sort());
  const files = rows.flatMap(({ code }) => code);
  expect(files.filter((path) => !hasCode(path))).toEqual([]);
  expect(rows.filter((row) => !hasTest(row))).toEqual([]);
});

test('docs/fields.md says what came of each test with each runtime', () => {
  const rows = readPage();
  const told = rows.map(({ field, results }) => ({ field, results }));
  expect(told).toEqual(rows.map((row) => ({ field: row.field, results: expectedResults(row) })));
});
