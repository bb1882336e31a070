import { z } from 'zod';
import { clusterMetadata, objectName } from './metadata.ts';
import { driverName } from './persistent-volume.ts';

const volumeError = z.strictObject({
  time: z.string().nullish(),
  message: z.string().optional(),
  errorCode: z.int().optional(),
});

/** storage.k8s.io/v1 VolumeAttachment: that a volume is to be attached to a node. */
export const volumeAttachment = z.strictObject({
  apiVersion: z.literal('storage.k8s.io/v1'),
  kind: z.literal('VolumeAttachment'),
  metadata: clusterMetadata,
  spec: z.strictObject({
    attacher: driverName,
    nodeName: objectName,
    source: z.strictObject({ persistentVolumeName: objectName }),
  }),
  status: z
    .strictObject({
      attached: z.boolean(),
      attachmentMetadata: z.record(z.string(), z.string()).optional(),
      attachError: volumeError.optional(),
      detachError: volumeError.optional(),
    })
    .optional(),
});
