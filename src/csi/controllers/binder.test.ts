import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SILENT } from '../../base/index.ts';
import { type NodeIdentity, parseManifest, type Ref } from '../objects/index.ts';
import { ObjectStore } from '../store/index.ts';
import { Binder } from './binder.ts';
import { Events } from './events.ts';

let directory: string;
let store: ObjectStore;
let binder: Binder;
const events = new Events();
const node: NodeIdentity = { name: 'n1', labels: { zone: 'a' } };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-binder-'));
  await start();
});

afterEach(async () => {
  await binder[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function start(): Promise<void> {
  store = await ObjectStore.open({ directory, logger: SILENT });
  const backOff = { first: 1, longest: 10 };
  binder = new Binder({ store, events, logger: SILENT, backOff, node: () => node });
}

async function settled(): Promise<void> {
  while (!binder.isIdle) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function apply(object: object): Promise<void> {
  await store.apply(parseManifest(object));
  await settled();
}

const volume = (name: string, storage: string, spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name, ...metadata },
  spec: {
    capacity: { storage },
    accessModes: ['ReadWriteOnce'],
    csi: { driver: 'd.example.com', volumeHandle: name },
    ...spec,
  },
});

const claim = (spec: object = {}, name = 'data') => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name },
  spec: {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '2Gi' } },
    storageClassName: '',
    ...spec,
  },
});

const storageClass = (name: string, spec: object = {}, annotations: object = {}) => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name, annotations },
  provisioner: 'd.example.com',
  ...spec,
});

const CLAIM: Ref<'PersistentVolumeClaim'> = { kind: 'PersistentVolumeClaim', name: 'data' };
const boundTo = () => store.get(CLAIM).spec.volumeName;
const phaseOf = (name: string) => store.get({ kind: 'PersistentVolume', name }).status?.phase;
const reasons = () => events.of({ ...CLAIM, namespace: 'default' }).map(({ reason }) => reason);

test('the smallest volume that is large enough is bound, both ways', async () => {
  await apply(volume('small', '1Gi'));
  await apply(volume('large', '9Gi'));
  await apply(volume('right', '3Gi'));
  expect(phaseOf('right')).toBe('Available');
  await apply(claim());
  expect(store.get(CLAIM)).toMatchObject({
    spec: { volumeName: 'right' },
    status: { phase: 'Bound', capacity: { storage: '3Gi' }, accessModes: ['ReadWriteOnce'] },
  });
  const { metadata, spec, status } = store.get({ kind: 'PersistentVolume', name: 'right' });
  expect(status?.phase).toBe('Bound');
  expect(spec.claimRef).toMatchObject({ name: 'data', uid: store.get(CLAIM).metadata.uid });
  expect(metadata.finalizers).toEqual(['kubernetes.io/pv-protection']);
  expect(phaseOf('large')).toBe('Available');
});

test.each([
  ['access mode', { accessModes: ['ReadWriteMany'] }],
  ['single-pod mode', { accessModes: ['ReadWriteOncePod'] }],
  ['volume mode', { volumeMode: 'Block' }],
  ['class', { storageClassName: 'other' }],
  ['labels', { selector: { matchLabels: { tier: 'fast' } } }],
  ['size', { resources: { requests: { storage: '6Gi' } } }],
])('a volume with the wrong %s is left alone', async (_, spec) => {
  await apply(volume('v', '5Gi'));
  await apply(claim(spec));
  expect(boundTo()).toBeUndefined();
  expect(store.get(CLAIM).status?.phase).toBe('Pending');
  expect(phaseOf('v')).toBe('Available');
});

test('a claim waits for a volume that comes later', async () => {
  await apply(claim({ selector: { matchLabels: { tier: 'fast' } } }));
  expect(reasons()).toContain('FailedBinding');
  await apply(volume('v', '5Gi', {}, { labels: { tier: 'fast' } }));
  expect(boundTo()).toBe('v');
});

test('a volume that this node cannot reach is left alone', async () => {
  const at = (zone: string) => ({
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [
          { matchExpressions: [{ key: 'zone', operator: 'In', values: [zone] }] },
        ],
      },
    },
  });
  await apply(volume('far', '2Gi', at('b')));
  await apply(volume('near', '4Gi', at('a')));
  await apply(claim());
  expect(boundTo()).toBe('near');
});

test('a claim that names its volume takes that one or none', async () => {
  await apply(volume('small', '1Gi'));
  await apply(volume('other', '5Gi'));
  await apply(claim({ volumeName: 'small' }));
  expect(store.get(CLAIM).status?.phase).toBe('Pending');
  expect(reasons()).toContain('VolumeMismatch');
  await apply(volume('small', '5Gi'));
  expect(store.get(CLAIM).status?.phase).toBe('Bound');
  expect(phaseOf('other')).toBe('Available');
});

test('a volume that names its claim is for it alone, and comes first', async () => {
  await apply(volume('mine', '9Gi', { claimRef: { name: 'data', namespace: 'default' } }));
  await apply(volume('fits', '2Gi', { claimRef: { name: 'other', namespace: 'default' } }));
  expect(phaseOf('mine')).toBe('Available');
  await apply(claim());
  expect(boundTo()).toBe('mine');
});

test('two claims do not get one volume', async () => {
  await apply(volume('v', '5Gi'));
  await Promise.all([
    store.apply(parseManifest(claim({}, 'data'))),
    store.apply(parseManifest(claim({}, 'second'))),
  ]);
  await settled();
  const bound = store.list('PersistentVolumeClaim').filter(({ spec }) => spec.volumeName === 'v');
  expect(bound).toHaveLength(1);
});

test('the newest default class is that of claims without one; its driver is asked', async () => {
  const mark = { 'storageclass.kubernetes.io/is-default-class': 'true' };
  const { storageClassName: _, ...spec } = claim().spec;
  await apply({ ...claim(), spec });
  expect(store.get(CLAIM).spec.storageClassName).toBeUndefined();
  await apply(storageClass('plain'));
  await apply(storageClass('standard', { provisioner: 'new.example.com' }, mark));
  expect(store.get(CLAIM)).toMatchObject({
    spec: { storageClassName: 'standard' },
    metadata: {
      annotations: { 'volume.kubernetes.io/storage-provisioner': 'new.example.com' },
    },
  });
});

test('with WaitForFirstConsumer nothing happens before there is a consumer', async () => {
  await apply(storageClass('late', { volumeBindingMode: 'WaitForFirstConsumer' }));
  await apply(volume('v', '5Gi', { storageClassName: 'late' }));
  await apply(claim({ storageClassName: 'late' }));
  expect(boundTo()).toBeUndefined();
  expect(reasons()).toContain('WaitForFirstConsumer');
  await store.change(CLAIM, (object) => ({
    ...object,
    metadata: {
      ...object.metadata,
      annotations: { 'volume.kubernetes.io/selected-node': 'n1' },
    },
  }));
  await settled();
  expect(boundTo()).toBe('v');
});

test.each([
  ['selector', { selector: { matchLabels: { a: 'b' } } }, {}, 'ProvisioningFailed'],
  ['class without driver', {}, { provisioner: 'kubernetes.io/no-provisioner' }, 'FailedBinding'],
])('nothing is made for a claim with a %s', async (_, spec, classSpec, reason) => {
  await apply(storageClass('made', classSpec));
  await apply(claim({ storageClassName: 'made', ...spec }));
  expect(store.get(CLAIM).metadata.annotations ?? {}).toEqual({});
  expect(reasons()).toContain(reason);
});

test('without its claim a volume is released and no other claim gets it', async () => {
  await apply(volume('v', '5Gi'));
  await apply(claim());
  await store.delete(CLAIM);
  await settled();
  expect(store.find(CLAIM)).toBeUndefined();
  expect(phaseOf('v')).toBe('Released');
  await apply(claim());
  expect(boundTo()).toBeUndefined();
  await apply(volume('v', '5Gi'));
  expect(boundTo()).toBe('v');
});

test('a claim whose volume vanished is lost', async () => {
  await apply(volume('v', '5Gi'));
  await apply(claim());
  await binder[Symbol.asyncDispose]();
  await store.change({ kind: 'PersistentVolume', name: 'v' }, (object) => ({
    ...object,
    metadata: { ...object.metadata, finalizers: [] },
  }));
  await store.delete({ kind: 'PersistentVolume', name: 'v' });
  await start();
  await settled();
  expect(store.get(CLAIM).status?.phase).toBe('Lost');
});

test('a bound volume cannot go, a claim in use neither', async () => {
  await apply(volume('v', '5Gi'));
  await apply(claim());
  await store.delete({ kind: 'PersistentVolume', name: 'v' });
  await settled();
  expect(phaseOf('v')).toBe('Bound');
  await store.create(publication());
  await store.delete(CLAIM);
  await settled();
  expect(store.get(CLAIM).metadata.deletionTimestamp).toBeDefined();
  await store.delete({ kind: 'VolumePublication', name: 'p' });
  await settled();
  expect(store.find(CLAIM)).toBeUndefined();
  expect(store.find({ kind: 'PersistentVolume', name: 'v' })).toBeUndefined();
});

test('a binding that a crash cut off between its two halves is completed', async () => {
  await apply(claim());
  await binder[Symbol.asyncDispose]();
  const { uid } = store.get(CLAIM).metadata;
  const claimRef = { name: 'data', namespace: 'default', uid };
  await store.apply(parseManifest(volume('v', '5Gi', { claimRef })));
  await start();
  await settled();
  expect(boundTo()).toBe('v');
  expect(phaseOf('v')).toBe('Bound');
});

function publication() {
  return {
    apiVersion: 'storage.keelson/v1' as const,
    kind: 'VolumePublication' as const,
    metadata: { name: 'p' },
    spec: {
      driver: 'd.example.com',
      volumeHandle: 'v',
      volumeName: 'v',
      volumeMode: 'Filesystem' as const,
      accessMode: 'ReadWriteOnce' as const,
      pod: { uid: 'u', name: 'pod', namespace: 'default', serviceAccount: 'default' },
      claim: { name: 'data', namespace: 'default' },
      readOnly: false,
      targetPath: '/nowhere',
    },
    status: { phase: 'Published' as const },
  };
}
