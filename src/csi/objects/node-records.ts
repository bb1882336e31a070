import { z } from 'zod';
import { clusterMetadata, namespaceName, objectName } from './metadata.ts';
import { driverName, fsType, volumeHandle } from './persistent-volume.ts';
import { accessMode, secretReference, volumeMode } from './references.ts';

/** Kinds that Keelson keeps for itself: what of a volume is on this node. */
export const NODE_RECORDS = 'storage.keelson/v1';

/** The uid of a pod: it becomes part of paths. */
export const podUid = z
  .string()
  .regex(/^[A-Za-z0-9]([-_.A-Za-z0-9]{0,126}[A-Za-z0-9])?$/, 'must be the uid of a pod');

/** A process that keeps a mount busy. A pid is trusted only with its start time. */
const holder = z.strictObject({
  pid: z.int(),
  startTime: z.number(),
  command: z.string(),
});

export type Holder = z.output<typeof holder>;

/** How a volume is handed to a driver, the same for each call about it. */
const access = {
  driver: driverName,
  volumeHandle,
  /** The PV, or the volume of the pod that is ephemeral: names directories. */
  volumeName: objectName,
  volumeMode,
  accessMode,
  fsType: fsType.optional(),
  mountOptions: z.array(z.string()).optional(),
};

/** A volume that is staged on this node, or about to be. Written before NodeStageVolume. */
export const volumeStage = z.strictObject({
  apiVersion: z.literal(NODE_RECORDS),
  kind: z.literal('VolumeStage'),
  metadata: clusterMetadata,
  spec: z.strictObject({ ...access, stagingPath: z.string() }),
  status: z.strictObject({
    phase: z.enum(['Staging', 'Staged', 'Unstaging']),
    /** Who held a mount that was taken off by force: the volume stays until they end. */
    holders: z.array(holder).optional(),
    error: z.string().optional(),
  }),
});

/** A volume in a pod, or about to be. Written before anything is done for it. */
export const volumePublication = z.strictObject({
  apiVersion: z.literal(NODE_RECORDS),
  kind: z.literal('VolumePublication'),
  metadata: clusterMetadata,
  spec: z.strictObject({
    ...access,
    pod: z.strictObject({
      uid: podUid,
      name: objectName,
      namespace: namespaceName,
      serviceAccount: z.string(),
    }),
    /** Undefined for ephemeral volumes. */
    claim: z.strictObject({ name: objectName, namespace: namespaceName }).optional(),
    readOnly: z.boolean(),
    fsGroup: z.int().min(0).optional(),
    fsGroupChangePolicy: z.enum(['Always', 'OnRootMismatch']).optional(),
    seLinuxContext: z.string().optional(),
    targetPath: z.string(),
    /** Of ephemeral volumes: those of persistent ones stand in the PV. */
    volumeAttributes: z.record(z.string(), z.string()).optional(),
    nodePublishSecretRef: secretReference.optional(),
  }),
  status: z.strictObject({
    phase: z.enum(['Preparing', 'Published', 'Releasing']),
    error: z.string().optional(),
  }),
});
