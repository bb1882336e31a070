import type { Claim, Snapshot, Stored } from '../objects/index.ts';
import type { ObjectStore } from '../store/index.ts';
import { ANNOTATION } from './annotations.ts';
import { annotationOf } from './editing.ts';
import { intentOf } from './provisioning-intent.ts';
import { contentNameFor } from './snapshot-plans.ts';

/** Whether a pod has the claim's volume, or a snapshot or a clone is being made of it. */
export function isClaimInUse(store: ObjectStore, claim: Claim): boolean {
  const { name, namespace } = claim.metadata;
  const isThis = (other: { name: string; namespace?: string | undefined } | undefined) =>
    other?.name === name && other.namespace === namespace;
  return (
    store.list('VolumePublication').some(({ spec }) => isThis(spec.claim)) ||
    store
      .list('VolumeSnapshot')
      .some((snapshot) => isBeingMade(store, snapshot) && isThis(source(snapshot))) ||
    store.list('PersistentVolumeClaim').some((other) => {
      const origin = other.spec.dataSourceRef ?? other.spec.dataSource;
      const cloning = annotationOf(other, ANNOTATION.provisioning) !== undefined;
      return (
        cloning &&
        origin?.kind === 'PersistentVolumeClaim' &&
        isThis({ ...origin, namespace: other.metadata.namespace })
      );
    })
  );
}

function source({ spec, metadata }: Snapshot) {
  return 'persistentVolumeClaimName' in spec.source
    ? { name: spec.source.persistentVolumeClaimName, namespace: metadata.namespace }
    : undefined;
}

/** A snapshot has been begun and has yet to be cut: later it needs its source no more. */
function isBeingMade(store: ObjectStore, snapshot: Snapshot): boolean {
  const name = contentNameFor(snapshot);
  const content = store.find({ kind: 'VolumeSnapshotContent', name });
  return content !== undefined && content.status?.snapshotHandle === undefined;
}

/** Whether a volume is staged, in a pod or attached here: its driver may not delete it. */
export function isVolumeInUse(store: ObjectStore, volume: Stored<'PersistentVolume'>): boolean {
  const { driver, volumeHandle } = volume.spec.csi;
  const here = ({ spec }: { spec: { driver: string; volumeHandle: string } }) =>
    spec.driver === driver && spec.volumeHandle === volumeHandle;
  return (
    store.list('VolumePublication').some(here) ||
    store.list('VolumeStage').some(here) ||
    store
      .list('VolumeAttachment')
      .some(({ spec }) => spec.source.persistentVolumeName === volume.metadata.name)
  );
}

/** Whether a volume is being made of a snapshot. */
export function isSnapshotInUse(
  store: ObjectStore,
  content: Stored<'VolumeSnapshotContent'> | undefined,
): boolean {
  const handle = content?.status?.snapshotHandle;
  if (handle === undefined) return false;
  return store.list('PersistentVolumeClaim').some((claim) => {
    const source = intentOf(claim)?.source;
    return source !== undefined && 'snapshotId' in source && source.snapshotId === handle;
  });
}
