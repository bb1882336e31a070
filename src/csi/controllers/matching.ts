import {
  bytesOf,
  type Claim,
  DEFAULT_CLASS,
  type NodeIdentity,
  reachableFrom,
  type StorageClass,
  selects,
  type Volume,
} from '../objects/index.ts';

/** The class of claims that name none: the newest one marked as default. */
export function defaultClass(classes: readonly StorageClass[]): StorageClass | undefined {
  return classes
    .filter(({ metadata }) => metadata.annotations?.[DEFAULT_CLASS] === 'true')
    .sort((a, b) => (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? 1 : -1))[0];
}

/** Why a volume does not fit a claim; undefined if it does. Availability is not looked at. */
export function misfit(claim: Claim, volume: Volume): string | undefined {
  const { spec } = volume;
  const wanted = claim.spec.resources.requests.storage;
  if (bytesOf(spec.capacity.storage) < bytesOf(wanted)) {
    return `it has ${spec.capacity.storage}, the claim asks for ${wanted}`;
  }
  if (spec.volumeMode !== claim.spec.volumeMode) {
    return `its volumeMode is ${spec.volumeMode}, not ${claim.spec.volumeMode}`;
  }
  const missing = claim.spec.accessModes.filter((mode) => !spec.accessModes.includes(mode));
  if (missing.length > 0) return `it does not offer ${missing.join(', ')}`;
  const [has, wants] = [spec.storageClassName ?? '', claim.spec.storageClassName ?? ''];
  if (has !== wants) return `its storageClassName is "${has}", not "${wants}"`;
  return undefined;
}

/** The smallest free volume that a claim may have. */
export function bestMatch(
  claim: Claim,
  volumes: readonly Volume[],
  node: NodeIdentity,
): Volume | undefined {
  const fitting = volumes.filter(
    (volume) =>
      volume.status?.phase === 'Available' &&
      volume.metadata.deletionTimestamp === undefined &&
      volume.spec.claimRef === undefined &&
      misfit(claim, volume) === undefined &&
      selects(claim.spec.selector, volume.metadata.labels ?? {}) &&
      reachableFrom(volume.spec.nodeAffinity, node),
  );
  const size = (volume: Volume) => bytesOf(volume.spec.capacity.storage);
  return fitting.sort((a, b) => size(a) - size(b))[0];
}

/** Whether a volume is meant for this very claim. Without uid, for any of its name. */
export function isFor(volume: Volume, claim: Claim): boolean {
  const reference = volume.spec.claimRef;
  return (
    reference !== undefined &&
    reference.name === claim.metadata.name &&
    (reference.namespace ?? 'default') === claim.metadata.namespace &&
    (reference.uid === undefined || reference.uid === '' || reference.uid === claim.metadata.uid)
  );
}
