import { z } from 'zod';
import { KeelsonError } from '../base/index.ts';
import type { CsiHost } from './host.ts';
import {
  driverName,
  fsType,
  namespaceName,
  objectName,
  podUid,
  secretReference,
} from './objects/index.ts';

const use = {
  readOnly: z.boolean().default(false),
  fsGroup: z.int().min(0).max(0xffff_fffe).optional(),
  fsGroupChangePolicy: z.enum(['Always', 'OnRootMismatch']).optional(),
  seLinuxContext: z
    .string()
    .regex(/^[-:.,_A-Za-z0-9]+$/, 'must be an SELinux context')
    .optional(),
};

const request = z.strictObject({
  pod: z.strictObject({
    uid: podUid,
    name: objectName,
    namespace: namespaceName,
    serviceAccount: z.string().default('default'),
  }),
  /** Milliseconds that it may take. */
  timeout: z.int().min(1).max(3_600_000).default(120_000),
  volumes: z
    .array(
      z.union([
        z.strictObject({ claim: objectName, ...use }),
        z.strictObject({
          inline: z.strictObject({
            volumeName: objectName,
            driver: driverName,
            fsType: fsType.optional(),
            volumeAttributes: z.record(z.string(), z.string()).optional(),
            nodePublishSecretRef: secretReference.optional(),
          }),
          ...use,
        }),
      ]),
    )
    .max(256),
});

/** Where a volume is for a pod. */
export interface PodVolume {
  readonly volumeName: string;
  /** A directory to mount, or the device node of a raw block volume. */
  readonly hostPath: string;
  readonly volumeMode: 'Filesystem' | 'Block';
  readonly readOnly: boolean;
}

/**
 * Makes the volumes of a pod ready, in their order: all, or none. `value` is what came over
 * a socket. The pod is expected to be run soon; `release` takes them all.
 */
export async function publishForPod(
  host: CsiHost,
  value: unknown,
  signal: AbortSignal,
): Promise<PodVolume[]> {
  const parsed = request.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot make volumes ready', {
      reason: `${issue?.path.join('.')}: ${issue?.message}`,
    });
  }
  const { volumes } = host;
  const { pod, timeout, volumes: wanted } = parsed.data;
  host.retry();
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
  const ready: PodVolume[] = [];
  try {
    for (const each of wanted) {
      const { readOnly, fsGroup, fsGroupChangePolicy, seLinuxContext } = each;
      const how = { pod, readOnly, fsGroup, fsGroupChangePolicy, seLinuxContext };
      const ref = { kind: 'PersistentVolumeClaim' as const, namespace: pod.namespace };
      const { spec } =
        'claim' in each
          ? await volumes.publishClaim({ ...ref, name: each.claim }, how, deadline)
          : await volumes.publishInline({ ...how, ...each.inline }, deadline);
      ready.push({
        volumeName: spec.volumeName,
        hostPath: spec.targetPath,
        volumeMode: spec.volumeMode,
        readOnly: spec.readOnly,
      });
    }
    return ready;
  } catch (error) {
    await volumes.release(pod.uid);
    throw error;
  }
}
