import { z } from 'zod';
import type { Claim } from '../objects/index.ts';
import { accessModes, secretReference, volumeMode } from '../objects/index.ts';
import { ANNOTATION, FINALIZER } from './annotations.ts';
import { annotationOf, withAnnotations, withFinalizer, withoutFinalizer } from './editing.ts';

const strings = z.record(z.string(), z.string());

/**
 * Everything that CreateVolume is asked for, secrets aside. It is written to the claim
 * before the first call, so that the call can be repeated word for word until its outcome
 * is known, whatever becomes of class, claim and daemon meanwhile.
 */
const intent = z.strictObject({
  driver: z.string(),
  storageClass: z.string(),
  reclaimPolicy: z.enum(['Delete', 'Retain']),
  parameters: strings,
  requiredBytes: z.int(),
  limitBytes: z.int(),
  volumeMode,
  accessModes,
  fsType: z.string().optional(),
  mountOptions: z.array(z.string()).optional(),
  source: z
    .union([z.strictObject({ snapshotId: z.string() }), z.strictObject({ volumeId: z.string() })])
    .optional(),
  /** Segments of this node, for drivers to whom topology matters. */
  topology: strings.optional(),
  secrets: z.record(z.string(), secretReference),
});

export type ProvisioningIntent = z.output<typeof intent>;

export function intentOf(claim: Claim): ProvisioningIntent | undefined {
  const text = annotationOf(claim, ANNOTATION.provisioning);
  return text === undefined ? undefined : intent.parse(JSON.parse(text));
}

export function withIntent(claim: Claim, value: ProvisioningIntent): Claim {
  const noted = withAnnotations(claim, { [ANNOTATION.provisioning]: JSON.stringify(value) });
  return withFinalizer(noted, FINALIZER.provisioning);
}

export function withoutIntent(claim: Claim): Claim {
  const plain = withAnnotations(claim, { [ANNOTATION.provisioning]: undefined });
  return withoutFinalizer(plain, FINALIZER.provisioning);
}

/** The name of the volume that is made for a claim, both for the driver and as a PV. */
export function volumeNameFor(claim: Claim): string {
  return `pvc-${claim.metadata.uid}`;
}
