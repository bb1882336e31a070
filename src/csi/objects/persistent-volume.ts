import { z } from 'zod';
import { clusterMetadata, objectName } from './metadata.ts';
import { quantity } from './quantity.ts';
import {
  accessModes,
  nodeAffinity,
  objectReference,
  secretReference,
  volumeMode,
} from './references.ts';

/** The name of a driver (CSI, GetPluginInfoResponse.name): it becomes part of paths. */
export const driverName = z
  .string()
  .max(63, 'must have at most 63 characters')
  .regex(
    /^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$/,
    'must be a driver name of letters, digits, "-" and "."',
  );

/** Bytes of a string in CSI: other ones the driver need not take. */
const LONGEST_HANDLE = 128;

/** Opaque to Keelson: it never becomes part of a path, only its hash does. */
export const volumeHandle = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text) <= LONGEST_HANDLE, {
    error: `must have at most ${LONGEST_HANDLE} bytes`,
  })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: CSI forbids exactly these.
  .refine((text) => !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/.test(text), {
    error: 'must hold no control characters',
  });

export const fsType = z
  .string()
  .regex(/^[a-z0-9]*$/, 'must be the name of a file system such as "ext4"');

const csiSource = z.strictObject({
  driver: driverName,
  volumeHandle,
  readOnly: z.boolean().optional(),
  fsType: fsType.optional(),
  volumeAttributes: z.record(z.string(), z.string()).optional(),
  controllerPublishSecretRef: secretReference.optional(),
  nodeStageSecretRef: secretReference.optional(),
  nodePublishSecretRef: secretReference.optional(),
  controllerExpandSecretRef: secretReference.optional(),
  nodeExpandSecretRef: secretReference.optional(),
});

/** v1 PersistentVolume with a `csi` source: a volume that is there. */
export const persistentVolume = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('PersistentVolume'),
  metadata: clusterMetadata,
  spec: z.strictObject({
    capacity: z.strictObject({ storage: quantity }),
    accessModes,
    volumeMode: volumeMode.default('Filesystem'),
    persistentVolumeReclaimPolicy: z.enum(['Delete', 'Retain']).default('Retain'),
    storageClassName: z.union([objectName, z.literal('')]).optional(),
    mountOptions: z.array(z.string().min(1)).optional(),
    claimRef: objectReference.optional(),
    nodeAffinity: nodeAffinity.optional(),
    csi: csiSource,
  }),
  status: z
    .strictObject({
      phase: z.enum(['Pending', 'Available', 'Bound', 'Released', 'Failed']).optional(),
      message: z.string().optional(),
      reason: z.string().optional(),
      lastPhaseTransitionTime: z.string().nullish(),
    })
    .optional(),
});
