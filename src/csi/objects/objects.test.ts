import { expect, test } from 'vitest';
import type { Claim, Volume } from './index.ts';
import {
  applyTo,
  formatQuantity,
  parseManifests,
  parseQuantity,
  reachableFrom,
  selects,
} from './index.ts';

const WALK_THROUGH = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast-storage}
provisioner: csi-driver.example.com
parameters:
  type: pd-ssd
  csi.storage.k8s.io/provisioner-secret-name: mysecret
  csi.storage.k8s.io/provisioner-secret-namespace: mynamespace
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: my-request-for-storage}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 5Gi}}
  storageClassName: fast-storage
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: my-manually-created-pv}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  csi:
    driver: csi-driver.example.com
    volumeHandle: existingVolumeName
    readOnly: false
    fsType: ext4
    volumeAttributes: {foo: bar}
    controllerPublishSecretRef: {name: mysecret1, namespace: mynamespace}
    nodeStageSecretRef: {name: mysecret2, namespace: mynamespace}
`;

const claim = (changes: string) => `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
${changes}`;

const volume = (csi: string) => `
apiVersion: v1
kind: PersistentVolume
metadata: {name: v}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  csi: ${csi}`;

test('the manifests of the usual walk-through are taken as they are, with Kubernetes defaults', () => {
  const [storageClass, pvc, pv] = parseManifests(WALK_THROUGH);
  expect(storageClass).toMatchObject({
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'Immediate',
    parameters: { type: 'pd-ssd' },
  });
  expect(pvc).toMatchObject({
    metadata: { namespace: 'default' },
    spec: { volumeMode: 'Filesystem', resources: { requests: { storage: '5Gi' } } },
  });
  expect(pv).toMatchObject({ spec: { csi: { volumeHandle: 'existingVolumeName' } } });
});

test('a List holds objects', () => {
  const items = parseManifests(WALK_THROUGH);
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  expect(parseManifests(list).map(({ kind }) => kind)).toEqual([
    'StorageClass',
    'PersistentVolumeClaim',
    'PersistentVolume',
  ]);
});

test.each([
  ['an unknown field', claim('  colour: blue'), /spec\.colour: is unknown/],
  ['an unknown kind', 'kind: Pod\nmetadata: {name: x}', /Pod "x".*kind is unknown/],
  ['a secret', 'kind: Secret\nmetadata: {name: x}\nstringData: {a: hush}', /stores no secrets/],
  ['a record of Keelson', 'kind: VolumeStage\nmetadata: {name: x}', /kind is unknown/],
  ['broken YAML', 'a: [', /Cannot read manifests/],
  ['a size without sense', claim('').replace('1Gi', '1Gb'), /quantity/],
  ['a negative size', claim('').replace('1Gi', '-1'), /quantity/],
  ['no access mode', claim('').replace('[ReadWriteOnce]', '[]'), /at least one access mode/],
  [
    'ReadWriteOncePod and another',
    claim('').replace('[ReadWriteOnce]', '[ReadWriteOncePod, ReadOnlyMany]'),
    /goes with no other/,
  ],
  [
    'a name that is a path',
    claim('').replace('name: data', 'name: ../../etc'),
    /metadata\.name: must be a name/,
  ],
  [
    'a namespace that is a path',
    claim('').replace('name: data', 'name: data, namespace: ..'),
    /metadata\.namespace: must/,
  ],
  [
    'a name of 300 characters',
    claim('').replace('name: data', `name: ${'x'.repeat(300)}`),
    /at most 253/,
  ],
  [
    'a driver name that is a path',
    volume('{driver: ../x, volumeHandle: h}'),
    /spec\.csi\.driver: must/,
  ],
  [
    'a handle of 300 characters',
    volume(`{driver: d, volumeHandle: ${'x'.repeat(300)}}`),
    /at most 128 bytes/,
  ],
  [
    'a handle with control characters',
    volume('{driver: d, volumeHandle: "a\\x01b"}'),
    /control characters/,
  ],
  [
    'a file system that is an option',
    volume('{driver: d, volumeHandle: h, fsType: "-o x"}'),
    /fsType: must/,
  ],
  [
    'volumes that are no csi volumes',
    volume('null').replace('csi: null', 'hostPath: {path: /}'),
    /hostPath: is unknown/,
  ],
  [
    'republishing',
    'apiVersion: storage.k8s.io/v1\nkind: CSIDriver\nmetadata: {name: d}\nspec: {requiresRepublish: true}',
    /is not supported/,
  ],
])('%s is refused aloud', (_, text, message) => {
  expect(() => parseManifests(text)).toThrow(message);
});

test('a secret in a manifest does not reach the error', () => {
  const text = 'kind: Secret\nmetadata: {name: x}\nstringData: {a: hush}';
  expect(() => parseManifests(text)).toThrow(expect.not.stringContaining('hush') as never);
});

test.each([
  ['5Gi', 5 * 1024 ** 3],
  ['1.5G', 1_500_000_000],
  ['2e3', 2000],
  ['100m', 1],
  ['0', 0],
  ['7', 7],
  ['1Xi', undefined],
  ['', undefined],
  ['-5', undefined],
  ['100E', undefined],
])('quantity %s', (text, bytes) => {
  expect(parseQuantity(text)).toBe(bytes);
});

test('bytes become a quantity that reads back', () => {
  for (const bytes of [0, 1, 1000, 1024, 5 * 1024 ** 3, 1025]) {
    expect(parseQuantity(formatQuantity(bytes))).toBe(bytes);
  }
  expect(formatQuantity(5 * 1024 ** 3)).toBe('5Gi');
});

test('selectors and affinities hold as in Kubernetes', () => {
  const labels = { tier: 'fast', zone: 'a' };
  expect(selects(undefined, labels)).toBe(true);
  expect(selects({ matchLabels: { tier: 'slow' } }, labels)).toBe(false);
  const notB = { key: 'zone', operator: 'NotIn' as const, values: ['b'] };
  expect(selects({ matchExpressions: [notB] }, labels)).toBe(true);
  const node = { name: 'n1', labels };
  const term = (values: string[]) => ({
    matchExpressions: [{ key: 'zone', operator: 'In' as const, values }],
  });
  const affinity = (...terms: ReturnType<typeof term>[]) => ({
    required: { nodeSelectorTerms: terms },
  });
  expect(reachableFrom(affinity(term(['b']), term(['a'])), node)).toBe(true);
  expect(reachableFrom(affinity(term(['b'])), node)).toBe(false);
  expect(reachableFrom({ required: { nodeSelectorTerms: [{}] } }, node)).toBe(false);
});

const server = { uid: 'u', resourceVersion: '1', creationTimestamp: 't' };

function stored<T>(text: string): T {
  const [manifest] = parseManifests(text);
  return { ...manifest, metadata: { ...manifest!.metadata, ...server } } as T;
}

test('applied again, an object keeps what controllers filled in', () => {
  const before = stored<Claim>(claim(''));
  const bound: Claim = {
    ...before,
    spec: { ...before.spec, volumeName: 'v' },
    status: { phase: 'Bound' },
  };
  const [larger] = parseManifests(claim('').replace('1Gi', '2Gi'));
  const after = applyTo(bound, larger as never) as Claim;
  expect(after.spec).toMatchObject({
    volumeName: 'v',
    resources: { requests: { storage: '2Gi' } },
  });
  expect(after.status).toEqual({ phase: 'Bound' });
  expect(after.metadata.uid).toBe('u');
});

test.each([
  ['less storage', claim('').replace('1Gi', '1Mi'), /cannot become less/],
  [
    'another access mode',
    claim('').replace('ReadWriteOnce', 'ReadOnlyMany'),
    /spec\.accessModes cannot change/,
  ],
  ['another volume mode', claim('  volumeMode: Block'), /spec\.volumeMode cannot change/],
])('a claim cannot be changed to %s', (_, text, message) => {
  const [manifest] = parseManifests(text);
  expect(() => applyTo(stored<Claim>(claim('')), manifest as never)).toThrow(message);
});

test('the source of a volume cannot change; a released one is free without its claimRef', () => {
  const before = stored<Volume>(volume('{driver: d, volumeHandle: h}'));
  const [other] = parseManifests(volume('{driver: d, volumeHandle: other}'));
  expect(() => applyTo(before, other as never)).toThrow(/spec\.csi\.volumeHandle cannot change/);
  const claimRef = { name: 'data', namespace: 'default', uid: 'x' };
  const [same] = parseManifests(volume('{driver: d, volumeHandle: h}'));
  const used: Volume = {
    ...before,
    spec: { ...before.spec, claimRef },
    status: { phase: 'Bound' },
  };
  expect((applyTo(used, same as never) as Volume).spec.claimRef).toEqual(claimRef);
  const released: Volume = { ...used, status: { phase: 'Released' } };
  expect((applyTo(released, same as never) as Volume).spec.claimRef).toBeUndefined();
});
