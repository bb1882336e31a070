import type { Snapshot, Volume } from '../../gen/csi/v1/csi.ts';
import { CsiError } from './csi-error.ts';

type Answer = Record<string, unknown>;

/** What the specification marks REQUIRED in answers: each says what is missing, or undefined. */
const MISSING: Record<string, (answer: Answer) => string | undefined> = {
  GetPluginInfo: ({ name, vendorVersion }) =>
    first([
      [
        typeof name === 'string' && /^[a-zA-Z0-9]([-a-zA-Z0-9.]{0,61}[a-zA-Z0-9])?$/.test(name),
        'a proper name',
      ],
      [vendorVersion !== '', 'vendor_version'],
    ]),
  CreateVolume: ({ volume }) => ofVolume(volume as Volume | undefined),
  ControllerGetVolume: ({ volume, status }) =>
    ofVolume(volume as Volume | undefined) ?? first([[status !== undefined, 'status']]),
  ListVolumes: ({ entries }) =>
    (entries as { volume?: Volume }[]).map(({ volume }) => ofVolume(volume)).find(Boolean),
  CreateSnapshot: ({ snapshot }) => ofSnapshot(snapshot as Snapshot | undefined),
  GetSnapshot: ({ snapshot }) => ofSnapshot(snapshot as Snapshot | undefined),
  ListSnapshots: ({ entries }) =>
    (entries as { snapshot?: Snapshot }[])
      .map(({ snapshot }) => ofSnapshot(snapshot))
      .find(Boolean),
  ControllerExpandVolume: ({ capacityBytes }) =>
    first([[(capacityBytes as bigint) > 0n, 'capacity_bytes']]),
  GetCapacity: ({ availableCapacity }) =>
    first([[(availableCapacity as bigint) >= 0n, 'available_capacity']]),
  NodeGetInfo: ({ nodeId }) =>
    first([
      [nodeId !== '', 'node_id'],
      [Buffer.byteLength(nodeId as string) <= 256, 'a node_id of at most 256 bytes'],
    ]),
};

/** Fails with INTERNAL when an answer lacks what the specification requires. */
export function checkAnswer(rpc: string, answer: object, action: string): void {
  const missing = MISSING[rpc]?.(answer as Answer);
  if (missing === undefined) return;
  throw new CsiError('INTERNAL', action, false, { reason: `the answer lacks ${missing}` });
}

function first(conditions: readonly (readonly [boolean, string])[]): string | undefined {
  return conditions.find(([met]) => !met)?.[1];
}

function ofVolume(volume: Volume | undefined): string | undefined {
  if (volume === undefined) return 'volume';
  return first([
    [volume.volumeId !== '', 'volume_id'],
    [volume.capacityBytes >= 0n, 'capacity_bytes that is not negative'],
  ]);
}

function ofSnapshot(snapshot: Snapshot | undefined): string | undefined {
  if (snapshot === undefined) return 'snapshot';
  return first([
    [snapshot.snapshotId !== '', 'snapshot_id'],
    [snapshot.sourceVolumeId !== '', 'source_volume_id'],
    [snapshot.creationTime !== undefined, 'creation_time'],
  ]);
}
