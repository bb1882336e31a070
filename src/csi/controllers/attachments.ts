import { createHash } from 'node:crypto';
import type { Attachment, Manifest, Volume } from '../objects/index.ts';

/** The name that Kubernetes gives the attachment of a volume to a node. */
export function attachmentName(volume: Volume, nodeName: string): string {
  const { driver, volumeHandle } = volume.spec.csi;
  const hash = createHash('sha256').update(`${volumeHandle}${driver}${nodeName}`).digest('hex');
  return `csi-${hash}`;
}

export function attachmentFor(volume: Volume, nodeName: string): Manifest<'VolumeAttachment'> {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'VolumeAttachment',
    metadata: { name: attachmentName(volume, nodeName) },
    spec: {
      attacher: volume.spec.csi.driver,
      nodeName,
      source: { persistentVolumeName: volume.metadata.name },
    },
  };
}

/** gRPC codes after which the same call may still succeed. */
const PASSING = new Set([1, 4, 8, 10, 14]);

/** Why attaching failed for good, until something changes; undefined while there is hope. */
export function lastingError({ status }: Attachment): string | undefined {
  const error = status?.attachError;
  if (error?.errorCode === undefined || PASSING.has(error.errorCode)) return undefined;
  return error.message ?? `gRPC code ${error.errorCode}`;
}
