import { readdir, readlink } from 'node:fs/promises';
import { parseNumber, readKernelFile } from './cgroup-values.ts';

/** Open files of processes. */
export interface DescriptorUsage {
  files: number;
  sockets: number;
}

/**
 * Counts what the processes have open. A process that is gone counts for nothing.
 * Undefined if there are more than `limit` descriptors.
 */
export async function descriptorUsage(
  pids: readonly number[],
  limit = Number.POSITIVE_INFINITY,
): Promise<DescriptorUsage | undefined> {
  const usage = { files: 0, sockets: 0 };
  for (const pid of pids) {
    const directory = `/proc/${pid}/fd`;
    const names = await readdir(directory).catch(() => []);
    usage.files += names.length;
    if (usage.files > limit) return undefined;
    for (const name of names) {
      const target = await readlink(`${directory}/${name}`).catch(() => '');
      if (target.startsWith('socket:')) usage.sockets++;
    }
  }
  return usage;
}

/** How many files a process may open; undefined if it is gone, or for no limit. */
export async function openFilesLimit(pid: number): Promise<number | undefined> {
  const limits = await readKernelFile(`/proc/${pid}/limits`);
  return parseNumber(/^Max open files\s+(\d+)/m.exec(limits ?? '')?.[1]);
}
