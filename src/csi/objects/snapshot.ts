import { z } from 'zod';
import { clusterMetadata, namespacedMetadata, objectName } from './metadata.ts';
import { driverName, volumeHandle } from './persistent-volume.ts';
import { quantity } from './quantity.ts';
import { objectReference, volumeMode } from './references.ts';

const API_VERSION = 'snapshot.storage.k8s.io/v1';

export const DEFAULT_SNAPSHOT_CLASS = 'snapshot.storage.kubernetes.io/is-default-class';

const deletionPolicy = z.enum(['Delete', 'Retain']);
const error = z.strictObject({ time: z.string().nullish(), message: z.string().optional() });

/** VolumeSnapshotClass: how snapshots of a driver are made. */
export const volumeSnapshotClass = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VolumeSnapshotClass'),
  metadata: clusterMetadata,
  driver: driverName,
  parameters: z.record(z.string().min(1), z.string()).optional(),
  deletionPolicy,
});

/** VolumeSnapshot: that someone wants a snapshot of a claim, or one that is there already. */
export const volumeSnapshot = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VolumeSnapshot'),
  metadata: namespacedMetadata,
  spec: z.strictObject({
    volumeSnapshotClassName: objectName.optional(),
    source: z.union(
      [
        z.strictObject({ persistentVolumeClaimName: objectName }),
        z.strictObject({ volumeSnapshotContentName: objectName }),
      ],
      { error: 'must name either persistentVolumeClaimName or volumeSnapshotContentName' },
    ),
  }),
  status: z
    .strictObject({
      boundVolumeSnapshotContentName: objectName.optional(),
      creationTime: z.string().nullish(),
      readyToUse: z.boolean().optional(),
      restoreSize: quantity.optional(),
      error: error.optional(),
    })
    .optional(),
});

/** VolumeSnapshotContent: a snapshot that is there, or about to be. */
export const volumeSnapshotContent = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('VolumeSnapshotContent'),
  metadata: clusterMetadata,
  spec: z.strictObject({
    deletionPolicy,
    driver: driverName,
    source: z.union(
      [z.strictObject({ volumeHandle }), z.strictObject({ snapshotHandle: volumeHandle })],
      { error: 'must name either volumeHandle or snapshotHandle' },
    ),
    sourceVolumeMode: volumeMode.optional(),
    volumeSnapshotClassName: objectName.optional(),
    volumeSnapshotRef: objectReference,
  }),
  status: z
    .strictObject({
      snapshotHandle: volumeHandle.optional(),
      /** Nanoseconds since 1970: more than a double holds exactly. */
      creationTime: z.number().optional(),
      readyToUse: z.boolean().optional(),
      restoreSize: z.int().optional(),
      error: error.optional(),
    })
    .optional(),
});
