import { z } from 'zod';
import { clusterMetadata } from './metadata.ts';

/** The annotation that makes a class that of claims which name none; the newest wins. */
export const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

const topologyTerm = z.strictObject({
  matchLabelExpressions: z
    .array(z.strictObject({ key: z.string().min(1), values: z.array(z.string()).min(1) }))
    .optional(),
});

/** storage.k8s.io/v1 StorageClass: how volumes of a kind are made. */
export const storageClass = z.strictObject({
  apiVersion: z.literal('storage.k8s.io/v1'),
  kind: z.literal('StorageClass'),
  metadata: clusterMetadata,
  provisioner: z.string().min(1),
  parameters: z.record(z.string().min(1), z.string()).optional(),
  reclaimPolicy: z.enum(['Delete', 'Retain']).default('Delete'),
  mountOptions: z.array(z.string().min(1)).optional(),
  allowVolumeExpansion: z.boolean().optional(),
  volumeBindingMode: z.enum(['Immediate', 'WaitForFirstConsumer']).default('Immediate'),
  allowedTopologies: z.array(topologyTerm).optional(),
});
