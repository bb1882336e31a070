import { stat } from 'node:fs/promises';
import { ifExists } from '../../base/index.ts';
import { loopsOf } from '../../linux/index.ts';
import { mountAt } from '../kit/target.ts';
import type { HostPathContext } from './context.ts';
import type { VolumeRecord } from './records.ts';

export interface Condition {
  readonly abnormal: boolean;
  readonly message: string;
}

/** Whether a volume is well. `used`: bytes of a directory, where they were counted. */
export async function conditionOf(
  { layout }: HostPathContext,
  volume: VolumeRecord,
  seen: { used?: bigint; path?: string } = {},
): Promise<Condition> {
  const { kind, id, capacityBytes } = volume;
  const path = kind === 'directory' ? layout.data(id) : layout.image(id);
  const content = await ifExists(stat(path, { bigint: true }));
  if (content === undefined) return abnormal(`"${path}" is not there`);
  if (kind !== 'directory' && content.size < capacityBytes) {
    return abnormal(`"${path}" has ${content.size} bytes, not ${capacityBytes}`);
  }
  if (seen.used !== undefined && seen.used > capacityBytes) {
    return abnormal(`it holds ${seen.used} bytes, more than its ${capacityBytes}`);
  }
  const mount = seen.path === undefined ? undefined : mountAt(seen.path);
  // "errors=remount-ro" is what ext4 does when it finds itself damaged.
  const fallen = mount?.superOptions.includes('ro') && kind === 'filesystem';
  const meant = (await loopsOf(path)).some(({ readonly }) => readonly);
  if (fallen && !meant) return abnormal('the file system can only be read, after errors');
  return { abnormal: false, message: 'the volume is well' };
}

function abnormal(message: string): Condition {
  return { abnormal: true, message };
}
