import { faultPoint, KeelsonError } from '../../base/index.ts';
import type { CreateVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { whileFrozen } from '../../linux/index.ts';
import { type ContentRequest, makeContent } from './contents.ts';
import type { HostPathContext } from './context.ts';
import type { SnapshotRecord, Source, VolumeRecord } from './records.ts';

/** What a volume or snapshot is copied from. */
export interface Origin {
  readonly record: VolumeRecord | SnapshotRecord;
  readonly directory: string;
  /** Bytes that a copy has at least. */
  readonly size: bigint;
  /** The volume, where it is one: it may be in use while it is copied. */
  readonly volume?: VolumeRecord;
}

export function sourceOf({ volumeContentSource }: CreateVolumeRequest): Source | undefined {
  const type = volumeContentSource?.type;
  if (type === undefined) return undefined;
  return type.$case === 'snapshot'
    ? { snapshotId: type.value.snapshotId }
    : { volumeId: type.value.volumeId };
}

/** Fails with NOT_FOUND. */
export function originOf(context: HostPathContext, source: Source): Origin {
  const { layout, volumes, snapshots } = context;
  if ('volumeId' in source) return originOfVolume(context, volumes.find(source.volumeId));
  const record = snapshots.find(source.snapshotId);
  return { record, directory: layout.place('snapshots', record.id), size: record.sizeBytes };
}

export function originOfVolume({ layout }: HostPathContext, volume: VolumeRecord): Origin {
  const directory = layout.place('volumes', volume.id);
  return { record: volume, directory, size: volume.capacityBytes, volume };
}

/**
 * Copies to a new place. A file system that is mounted stands still meanwhile, so that the
 * copy is whole; where the disk cannot share blocks, writers wait for the copying.
 */
export async function copyOrigin(
  context: HostPathContext,
  origin: Origin,
  request: ContentRequest & { directory: string },
): Promise<void> {
  const { layout, places } = context;
  const copy = () =>
    makeContent(request.directory, { ...request, source: origin.directory }, layout.programs);
  const { volume } = origin;
  if (volume?.kind !== 'filesystem') return copy();
  const { staged, published } = await places.live(volume);
  const mounted = staged?.path ?? published[0]?.path;
  if (mounted === undefined) return copy();
  return whileFrozen(mounted, async () => {
    faultPoint('hostpath/copy/freeze');
    await copy();
  });
}

/** Fails with INVALID_ARGUMENT when a snapshot's parameters are not only the snapshotter's own. */
export function checkSnapshotParameters(parameters: Readonly<Record<string, string>>): void {
  const unknown = Object.keys(parameters).find((key) => !key.startsWith('csi.storage.k8s.io/'));
  if (unknown === undefined) return;
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot make such a snapshot', {
    reason: `parameter "${unknown}" is unknown: this driver has none for snapshots`,
  });
}
