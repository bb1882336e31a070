import { statfs } from 'node:fs/promises';
import {
  type DeepPartial,
  type NodeGetVolumeStatsResponse,
  VolumeUsage_Unit as Unit,
} from '../../gen/csi/v1/csi.ts';
import { conditionOf } from './condition.ts';
import type { HostPathContext } from './context.ts';
import type { VolumeRecord } from './records.ts';

/** How full a volume is, and whether it is well: the answer to NodeGetVolumeStats. */
export async function statsOf(
  context: HostPathContext,
  volume: VolumeRecord,
  path: string,
): Promise<DeepPartial<NodeGetVolumeStatsResponse>> {
  const total = volume.capacityBytes;
  if (volume.kind === 'block') {
    const volumeCondition = await conditionOf(context, volume);
    return { usage: [{ unit: Unit.BYTES, total }], volumeCondition };
  }
  const { blocks, bfree, bavail, bsize, files, ffree } = await statfs(path, { bigint: true });
  if (volume.kind === 'filesystem') {
    const bytes = {
      total: blocks * bsize,
      available: bavail * bsize,
      used: (blocks - bfree) * bsize,
    };
    const inodes = { total: files, available: ffree, used: files - ffree };
    const volumeCondition = await conditionOf(context, volume, { path });
    return {
      usage: [
        { unit: Unit.BYTES, ...bytes },
        { unit: Unit.INODES, ...inodes },
      ],
      volumeCondition,
    };
  }
  const held = await context.measuring.directory(context.layout.data(volume.id));
  const used = BigInt(held?.bytes ?? 0);
  const left = total > used ? total - used : 0n;
  const free = bavail * bsize;
  const count = BigInt(held?.inodes ?? 0);
  const volumeCondition = await conditionOf(context, volume, { used });
  return {
    usage: [
      {
        unit: Unit.BYTES,
        total,
        available: left < free ? left : free,
        used: used < total ? used : total,
      },
      { unit: Unit.INODES, total: count + ffree, available: ffree, used: count },
    ],
    volumeCondition,
  };
}
