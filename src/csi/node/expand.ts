import { KeelsonError } from '../../base/index.ts';
import { NodeExpandVolumeRequest } from '../../gen/csi/v1/csi.ts';
import { ANNOTATION, annotationOf, withAnnotations } from '../controllers/index.ts';
import type { Volume } from '../objects/index.ts';
import { type NodeParts, nodeCapability } from './node-parts.ts';
import { stageName } from './paths.ts';

/**
 * Grows what of a volume is on this node when that is due. Answers false when nothing of it
 * is here yet. The caller holds the volume's lock.
 */
export async function expandOnNode(
  parts: NodeParts,
  volume: Volume,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, drivers, secrets } = parts;
  const { csi, volumeMode, accessModes } = volume.spec;
  const ref = { kind: 'PersistentVolume', name: volume.metadata.name } as const;
  const due = annotationOf(store.get(ref), ANNOTATION.nodeExpansion);
  if (due === undefined) return true;
  const place = placeOf(parts, volume);
  if (place === undefined) return false;
  const driver = drivers.get(csi.driver);
  const [accessMode = 'ReadWriteOnce'] = accessModes;
  const access = {
    volumeMode,
    accessMode,
    fsType: csi.fsType,
    mountOptions: volume.spec.mountOptions,
  };
  const request = NodeExpandVolumeRequest.fromPartial({
    volumeId: csi.volumeHandle,
    volumePath: place.volumePath,
    stagingTargetPath: place.stagingPath ?? '',
    capacityRange: { requiredBytes: BigInt(due) },
    volumeCapability: nodeCapability(driver, access),
    secrets: await secrets.read(csi.nodeExpandSecretRef),
  });
  const { capacityBytes } = await driver.client.node.nodeExpandVolume(request, { signal });
  if (capacityBytes !== 0n && capacityBytes < BigInt(due)) {
    throw new KeelsonError('OUT_OF_RANGE', `Cannot expand volume "${csi.volumeHandle}"`, {
      reason: `driver "${driver.name}" grew it to ${capacityBytes} bytes, not ${due}`,
    });
  }
  await store.changeIfThere(ref, (current) =>
    annotationOf(current, ANNOTATION.nodeExpansion) === due
      ? withAnnotations(current, { [ANNOTATION.nodeExpansion]: undefined })
      : current,
  );
  return true;
}

interface Place {
  volumePath: string;
  stagingPath: string | undefined;
}

/** Where the volume is: in a pod, or staged only. */
function placeOf({ store }: NodeParts, { spec }: Volume): Place | undefined {
  const { driver, volumeHandle } = spec.csi;
  const stage = store.find({ kind: 'VolumeStage', name: stageName(driver, volumeHandle) });
  const stagingPath = stage?.status.phase === 'Staged' ? stage.spec.stagingPath : undefined;
  const published = store
    .list('VolumePublication')
    .find(
      ({ spec: each, status }) =>
        each.driver === driver &&
        each.volumeHandle === volumeHandle &&
        status.phase === 'Published',
    );
  const volumePath = published?.spec.targetPath ?? stagingPath;
  return volumePath === undefined ? undefined : { volumePath, stagingPath };
}
