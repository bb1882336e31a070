import { isDeepStrictEqual } from 'node:util';
import { KeelsonError } from '../../base/index.ts';
import { describeRef, type Kind, type Manifest, refOf, type Stored } from './kinds.ts';
import { bytesOf } from './quantity.ts';

/** Parts of an object that may change once it is there; all other ones may not. */
const MUTABLE: Readonly<Record<Kind, readonly string[]>> = {
  StorageClass: ['allowVolumeExpansion', 'mountOptions', 'allowedTopologies'],
  PersistentVolumeClaim: ['spec.resources', 'spec.volumeName', 'spec.storageClassName'],
  PersistentVolume: [
    'spec.capacity',
    'spec.accessModes',
    'spec.persistentVolumeReclaimPolicy',
    'spec.storageClassName',
    'spec.mountOptions',
    'spec.claimRef',
    'spec.nodeAffinity',
    'spec.csi.controllerExpandSecretRef',
    'spec.csi.nodeExpandSecretRef',
  ],
  VolumeAttachment: [],
  CSIDriver: ['spec'],
  CSINode: ['spec'],
  VolumeSnapshot: ['spec.volumeSnapshotClassName'],
  VolumeSnapshotClass: ['deletionPolicy', 'parameters'],
  VolumeSnapshotContent: ['spec.deletionPolicy', 'spec.volumeSnapshotRef'],
  VolumeStage: [],
  VolumePublication: [],
};

/** Parts that controllers fill in: a manifest that leaves them out keeps them. */
const FILLED_IN: Partial<Record<Kind, readonly string[]>> = {
  PersistentVolumeClaim: ['volumeName', 'storageClassName'],
  PersistentVolume: ['claimRef', 'nodeAffinity'],
  VolumeSnapshot: ['volumeSnapshotClassName'],
};

/**
 * What becomes of a stored object when a manifest of it is applied again: what the manifest
 * says holds, labels and annotations are added to, status and what the store or a
 * controller filled in stays. Fails when something changes that may not.
 */
export function applyTo<K extends Kind>(before: Stored<K>, manifest: Manifest<K>): Stored<K> {
  const after = structuredClone({ ...before, ...manifest }) as Stored<K> & Loose;
  const old = before as Stored<K> & Loose;
  after.metadata = {
    ...old.metadata,
    labels: merged(old.metadata.labels, manifest.metadata.labels),
    annotations: merged(old.metadata.annotations, manifest.metadata.annotations),
  };
  after.status = old.status;
  for (const field of FILLED_IN[before.kind] ?? []) {
    if (after.spec !== undefined && !isReleased(before)) after.spec[field] ??= old.spec?.[field];
  }
  const clean = JSON.parse(JSON.stringify(after)) as Stored<K>;
  checkChange(before, clean);
  return clean;
}

/** Applied again without its claimRef, a released volume is free for another claim. */
function isReleased(object: Stored): boolean {
  return object.kind === 'PersistentVolume' && object.status?.phase === 'Released';
}

interface Loose {
  metadata: Stored['metadata'];
  spec?: Record<string, unknown>;
  status?: unknown;
}

function merged(
  before: Record<string, string> | undefined,
  more: Record<string, string> | undefined,
): Record<string, string> | undefined {
  return more === undefined ? before : { ...before, ...more };
}

/** Fails when a user's change touches what may not change (Kubernetes API validation). */
function checkChange<K extends Kind>(before: Stored<K>, after: Stored<K>): void {
  const mutable = MUTABLE[before.kind];
  const path = firstDifference(before, after, '', mutable);
  if (path !== undefined) throw immutable(before, `${path} cannot change`);
  if (before.kind !== 'PersistentVolumeClaim') return;
  const [old, now] = [before, after] as Stored<'PersistentVolumeClaim'>[];
  if (old === undefined || now === undefined) return;
  for (const field of ['volumeName', 'storageClassName'] as const) {
    if (old.spec[field] !== undefined && old.spec[field] !== now.spec[field]) {
      throw immutable(before, `spec.${field} cannot change once it is set`);
    }
  }
  const [was, wanted] = [old, now].map(({ spec }) => bytesOf(spec.resources.requests.storage));
  if (Number(wanted) < Number(was)) {
    throw immutable(before, 'spec.resources.requests.storage cannot become less');
  }
}

function immutable(object: Stored, reason: string): KeelsonError {
  const action = `Cannot change ${describeRef(refOf(object))}`;
  return new KeelsonError('FAILED_PRECONDITION', action, {
    reason,
    hint: 'make another object instead',
  });
}

function firstDifference(
  before: unknown,
  after: unknown,
  path: string,
  mutable: readonly string[],
): string | undefined {
  if (path === 'metadata' || path === 'status' || mutable.includes(path)) return undefined;
  if (isDeepStrictEqual(before, after)) return undefined;
  const inside = path === '' || mutable.some((each) => each.startsWith(`${path}.`));
  if (!inside) return path;
  const [old, now] = [before ?? {}, after ?? {}] as Record<string, unknown>[];
  for (const key of new Set([...Object.keys(old ?? {}), ...Object.keys(now ?? {})])) {
    const at = path === '' ? key : `${path}.${key}`;
    const found = firstDifference(old?.[key], now?.[key], at, mutable);
    if (found !== undefined) return found;
  }
  return undefined;
}
