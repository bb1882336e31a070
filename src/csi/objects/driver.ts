import { z } from 'zod';
import { clusterMetadata } from './metadata.ts';
import { driverName } from './persistent-volume.ts';

/**
 * storage.k8s.io/v1 CSIDriver: what callers should know of a driver. Service account
 * tokens, republishing and capacity tracking need a cluster: refused, not ignored.
 */
export const csiDriver = z.strictObject({
  apiVersion: z.literal('storage.k8s.io/v1'),
  kind: z.literal('CSIDriver'),
  metadata: clusterMetadata.extend({ name: driverName }),
  spec: z.strictObject({
    attachRequired: z.boolean().default(true),
    podInfoOnMount: z.boolean().default(false),
    fsGroupPolicy: z
      .enum(['ReadWriteOnceWithFSType', 'File', 'None'])
      .default('ReadWriteOnceWithFSType'),
    seLinuxMount: z.boolean().default(false),
    volumeLifecycleModes: z
      .array(z.enum(['Persistent', 'Ephemeral']))
      .min(1)
      .default(['Persistent']),
    requiresRepublish: z.literal(false, 'is not supported: leave it out').optional(),
    storageCapacity: z.literal(false, 'is not supported: leave it out').optional(),
    tokenRequests: z
      .array(z.unknown())
      .max(0, 'is not supported: there are no service accounts here')
      .optional(),
  }),
});

/** storage.k8s.io/v1 CSINode: the drivers that a node has, as they registered. */
export const csiNode = z.strictObject({
  apiVersion: z.literal('storage.k8s.io/v1'),
  kind: z.literal('CSINode'),
  metadata: clusterMetadata,
  spec: z.strictObject({
    drivers: z.array(
      z.strictObject({
        name: driverName,
        nodeID: z.string(),
        topologyKeys: z.array(z.string()).nullish(),
        allocatable: z.strictObject({ count: z.int().optional() }).optional(),
      }),
    ),
  }),
});
