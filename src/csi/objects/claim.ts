import { z } from 'zod';
import { namespacedMetadata, objectName } from './metadata.ts';
import { quantity } from './quantity.ts';
import { accessModes, condition, labelSelector, volumeMode } from './references.ts';

/** Where the content of a new volume comes from: a snapshot, or another claim (a clone). */
const contentSource = z
  .strictObject({
    apiGroup: z.string().nullish(),
    kind: z.enum(['VolumeSnapshot', 'PersistentVolumeClaim']),
    name: objectName,
  })
  .refine(
    ({ kind, apiGroup }) =>
      kind === 'VolumeSnapshot'
        ? apiGroup === 'snapshot.storage.k8s.io'
        : apiGroup === undefined || apiGroup === null || apiGroup === '',
    { error: 'must be a VolumeSnapshot of snapshot.storage.k8s.io or a PersistentVolumeClaim' },
  );

const storage = z.strictObject({ storage: quantity });

const spec = z
  .strictObject({
    accessModes,
    resources: z.strictObject({ requests: storage, limits: storage.optional() }),
    storageClassName: z.union([objectName, z.literal('')]).optional(),
    volumeName: objectName.optional(),
    volumeMode: volumeMode.default('Filesystem'),
    selector: labelSelector.optional(),
    dataSource: contentSource.optional(),
    dataSourceRef: contentSource.optional(),
  })
  .refine(
    ({ dataSource, dataSourceRef }) =>
      dataSource === undefined ||
      dataSourceRef === undefined ||
      (dataSource.kind === dataSourceRef.kind && dataSource.name === dataSourceRef.name),
    { error: 'dataSource and dataSourceRef must say the same' },
  );

/** v1 PersistentVolumeClaim: what someone wants of a volume. */
export const persistentVolumeClaim = z.strictObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('PersistentVolumeClaim'),
  metadata: namespacedMetadata,
  spec,
  status: z
    .strictObject({
      phase: z.enum(['Pending', 'Bound', 'Lost']).optional(),
      accessModes: accessModes.optional(),
      capacity: storage.optional(),
      allocatedResources: storage.optional(),
      allocatedResourceStatuses: z.record(z.string(), z.string()).optional(),
      conditions: z.array(condition).optional(),
    })
    .optional(),
});
