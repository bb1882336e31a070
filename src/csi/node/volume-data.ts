import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ifExists, readTextIfExists, writeFileAtomic } from '../../base/index.ts';

const FILE = 'vol_data.json';

const volumeData = z.looseObject({
  driverName: z.string(),
  volumeHandle: z.string(),
  specVolID: z.string().optional(),
  volumeLifecycleMode: z.enum(['Persistent', 'Ephemeral']).optional(),
});

export type VolumeData = z.output<typeof volumeData>;

/**
 * Notes beside a mount what is mounted there, in a kubelet's words: enough to take it down
 * when the record has been lost.
 */
export async function writeVolumeData(mountPath: string, data: VolumeData): Promise<void> {
  const directory = dirname(mountPath);
  await mkdir(directory, { recursive: true, mode: 0o750 });
  await writeFileAtomic(join(directory, FILE), JSON.stringify(data), { durable: true });
}

/** What is noted there; undefined if it is nothing that makes sense. */
export async function readVolumeData(mountPath: string): Promise<VolumeData | undefined> {
  const text = await readTextIfExists(join(dirname(mountPath), FILE));
  if (text === undefined) return undefined;
  try {
    return volumeData.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Also what a crash left of a write. */
export async function removeVolumeData(mountPath: string): Promise<void> {
  const directory = dirname(mountPath);
  for (const name of (await ifExists(readdir(directory))) ?? []) {
    const own = name === FILE || (name.startsWith(`${FILE}.`) && name.endsWith('.tmp'));
    if (own) await rm(join(directory, name), { force: true });
  }
}
