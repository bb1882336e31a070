import { expect, test } from 'vitest';
import { type Claim, parseManifest, type StorageClass, type Volume } from '../objects/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import { planAttachment } from './attacher.ts';
import { attachmentFor, lastingError } from './attachments.ts';
import { planReclaim } from './reclaimer.ts';
import { planResize } from './resizer.ts';

const server = { uid: 'u', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' };

function stored<T>(object: object, more: object = {}): T {
  const manifest = parseManifest(object);
  return { ...manifest, ...more, metadata: { ...manifest.metadata, ...server } } as T;
}

function volume(storage: string, annotations: object = {}): Volume {
  return stored({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'v', annotations },
    spec: {
      capacity: { storage },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Delete',
      csi: { driver: 'd', volumeHandle: 'h' },
    },
  });
}

function claim(storage: string, capacity: string): Claim {
  return stored(
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'c' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
    },
    { status: { phase: 'Bound', capacity: { storage: capacity } } },
  );
}

const storageClass: StorageClass = stored({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 's' },
  provisioner: 'd',
  allowVolumeExpansion: true,
});

const BOTH = { controller: true, node: true, onlyOffline: false };
const due = { [ANNOTATION.nodeExpansion]: '2097152' };

test.each([
  ['what is large enough stays', claim('1Mi', '1Mi'), volume('1Mi'), BOTH, true, { do: 'nothing' }],
  [
    'more is asked of the driver',
    claim('2Mi', '1Mi'),
    volume('1Mi'),
    BOTH,
    true,
    { do: 'expand', bytes: 2097152, by: 'controller' },
  ],
  [
    'a driver that grows on the node only',
    claim('2Mi', '1Mi'),
    volume('1Mi'),
    { ...BOTH, controller: false },
    false,
    { do: 'expand', by: 'node' },
  ],
  [
    'a driver that cannot',
    claim('2Mi', '1Mi'),
    volume('1Mi'),
    { ...BOTH, controller: false, node: false },
    false,
    { do: 'fail' },
  ],
  [
    'an offline driver while it is in use',
    claim('2Mi', '1Mi'),
    volume('1Mi'),
    { ...BOTH, onlyOffline: true },
    true,
    { do: 'fail' },
  ],
  [
    'an offline driver while it is not',
    claim('2Mi', '1Mi'),
    volume('1Mi'),
    { ...BOTH, onlyOffline: true },
    false,
    { do: 'expand' },
  ],
  [
    'the node has yet to',
    claim('2Mi', '1Mi'),
    volume('2Mi', due),
    BOTH,
    true,
    { do: 'expand-on-node' },
  ],
  ['all is done', claim('2Mi', '1Mi'), volume('2Mi'), BOTH, true, { do: 'finish' }],
])('growing: %s', (_, wanted, has, driver, inUse, plan) => {
  expect(planResize(wanted, { volume: has, storageClass, driver, inUse })).toMatchObject(plan);
});

test('a volume made by a driver is deleted once it is released and nothing has it', () => {
  const made = volume('1Mi', { [ANNOTATION.provisionedBy]: 'd' });
  const held = { ...made, metadata: { ...made.metadata, finalizers: [FINALIZER.provisioned] } };
  const released: Volume = { ...held, status: { phase: 'Released' } };
  const retained: Volume = {
    ...released,
    spec: { ...released.spec, persistentVolumeReclaimPolicy: 'Retain' },
  };
  expect(planReclaim(volume('1Mi'), false).do).toBe('nothing');
  expect(planReclaim(made, false).do).toBe('write');
  expect(planReclaim({ ...held, status: { phase: 'Bound' } }, false).do).toBe('nothing');
  expect(planReclaim(released, true).do).toBe('wait');
  expect(planReclaim(released, false).do).toBe('delete');
  const plan = planReclaim(retained, false);
  expect(plan).toMatchObject({ do: 'write', volume: { metadata: { finalizers: [] } } });
});

test('an attachment is intended before it is made, and ends in reverse', () => {
  const manifest = attachmentFor(volume('1Mi'), 'n1');
  expect(manifest.metadata.name).toMatch(/^csi-[0-9a-f]{64}$/);
  const fresh = { ...manifest, metadata: { ...manifest.metadata, ...server } };
  const intended = {
    ...fresh,
    metadata: {
      ...fresh.metadata,
      finalizers: [FINALIZER.attached],
      annotations: { [ANNOTATION.nodeId]: 'id' },
    },
  };
  const failed = (errorCode: number) => ({
    ...intended,
    status: { attached: false, attachError: { message: 'no', errorCode } },
  });
  const deleting = { ...intended, metadata: { ...intended.metadata, deletionTimestamp: 'now' } };
  expect(planAttachment(fresh)).toBe('intend');
  expect(planAttachment(intended)).toBe('attach');
  expect(planAttachment({ ...intended, status: { attached: true } })).toBe('nothing');
  expect(planAttachment(deleting)).toBe('detach');
  expect(lastingError(failed(14))).toBeUndefined();
  expect(lastingError(failed(9))).toBe('no');
});
