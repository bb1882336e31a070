import { KeelsonError, parseSize } from '../../base/index.ts';
import type { NodePublishVolumeRequest } from '../../gen/csi/v1/csi.ts';
import type { HostPathContext } from './context.ts';
import { addVolume } from './controller.ts';
import { checkPrograms, contentFor, sizeFor } from './plan-volume.ts';
import type { VolumeRecord } from './records.ts';

/** The attributes of an inline volume that a pod may set. Others are kubelet's. */
const SIZE = 'size';
const FOREIGN = 'csi.storage.k8s.io/';

/** Ids of inline volumes come from outside, and are names of directories. */
const ID = /^[A-Za-z0-9][-A-Za-z0-9_.]{0,127}$/;

/** The inline volume of a request, made if it is not there. */
export async function ephemeralVolume(
  context: HostPathContext,
  request: NodePublishVolumeRequest,
): Promise<VolumeRecord> {
  const { volumeId: id, volumeContext, volumeCapability } = request;
  const known = context.volumes.get(id);
  if (known?.ephemeral) return known;
  if (known !== undefined) {
    throw new KeelsonError('ALREADY_EXISTS', `Volume "${id}" is there already`, {
      reason: 'and it is no inline volume',
    });
  }
  if (!ID.test(id)) throw wrong(`"${id}" is no id of an inline volume`);
  const requiredBytes = sizeOf(volumeContext);
  const content = contentFor(volumeCapability === undefined ? [] : [volumeCapability]);
  if (content.kind === 'block') throw wrong('an inline volume cannot be a block device');
  checkPrograms(content);
  const volume: VolumeRecord = {
    version: 1,
    id,
    name: `inline ${id}`,
    ...content,
    capacityBytes: sizeFor({ requiredBytes, limitBytes: 0n }, content),
    thick: false,
    parameters: {},
    ephemeral: true,
    createdAt: new Date().toISOString(),
  };
  await addVolume(context, volume);
  return volume;
}

function sizeOf(attributes: Readonly<Record<string, string>>): bigint {
  for (const key of Object.keys(attributes)) {
    if (key === SIZE || key.startsWith(FOREIGN)) continue;
    throw wrong(`attribute "${key}" is unknown; known is ${SIZE}`);
  }
  const text = attributes[SIZE];
  if (text === undefined) return 0n;
  // Kubernetes writes Gi where others write GiB.
  const bytes = parseSize(text.replace(/^(\d+[KMGT]i)$/, '$1B'));
  if (bytes === undefined || bytes === 0) throw wrong(`size "${text}" is none, such as 1Gi`);
  return BigInt(bytes);
}

function wrong(reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot make such an inline volume', { reason });
}
