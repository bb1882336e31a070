import {
  NodeGetVolumeStatsRequest,
  type NodeGetVolumeStatsResponse,
  VolumeUsage_Unit,
} from '../../gen/csi/v1/csi.ts';
import type { Publication } from '../objects/index.ts';
import type { NodeParts } from './node-parts.ts';
import { stageName } from './paths.ts';

/** How full a volume is, and how well, as its driver says. Numbers are bytes and inodes. */
export interface VolumeHealth {
  readonly bytes: Usage | undefined;
  readonly inodes: Usage | undefined;
  readonly condition: { readonly abnormal: boolean; readonly message: string } | undefined;
}

interface Usage {
  readonly total: number;
  readonly used: number;
  readonly available: number;
}

/** Undefined for drivers that do not tell. */
export async function volumeHealth(
  { store, drivers }: NodeParts,
  { spec }: Publication,
  signal: AbortSignal,
): Promise<VolumeHealth | undefined> {
  const driver = drivers.get(spec.driver);
  if (!driver.nodeCan('GET_VOLUME_STATS') && !driver.nodeCan('VOLUME_CONDITION')) return undefined;
  const stage = store.find({
    kind: 'VolumeStage',
    name: stageName(spec.driver, spec.volumeHandle),
  });
  const request = NodeGetVolumeStatsRequest.fromPartial({
    volumeId: spec.volumeHandle,
    volumePath: spec.targetPath,
    stagingTargetPath: stage?.spec.stagingPath ?? '',
  });
  const answer = await driver.client.node.nodeGetVolumeStats(request, { signal });
  return {
    bytes: usageOf(answer, VolumeUsage_Unit.BYTES),
    inodes: usageOf(answer, VolumeUsage_Unit.INODES),
    condition: driver.nodeCan('VOLUME_CONDITION') ? answer.volumeCondition : undefined,
  };
}

function usageOf({ usage }: NodeGetVolumeStatsResponse, unit: number): Usage | undefined {
  const found = usage.find((each) => each.unit === unit);
  if (found === undefined) return undefined;
  const { total, used, available } = found;
  return { total: Number(total), used: Number(used), available: Number(available) };
}
