import { lstat, opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists } from '../base/index.ts';

export interface DirectoryUsage {
  /** On the disk, in whole blocks. */
  bytes: number;
  inodes: number;
}

const BLOCK = 512;

/**
 * What a directory holds, itself included. Walks it without following links or crossing
 * into other file systems, a directory at a time, so that the event loop keeps its breath.
 * A file with several names counts once.
 */
export async function directoryUsage(root: string): Promise<DirectoryUsage | undefined> {
  const top = await ifExists(stat(root));
  if (top === undefined) return undefined;
  const usage = { bytes: top.blocks * BLOCK, inodes: 1 };
  const linked = new Set<number>();
  const waiting = [root];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const { name, info } of await entriesOf(path)) {
      if (info.dev !== top.dev || linked.has(info.ino)) continue;
      if (info.nlink > 1 && !info.isDirectory()) linked.add(info.ino);
      usage.bytes += info.blocks * BLOCK;
      usage.inodes++;
      if (info.isDirectory()) waiting.push(join(path, name));
    }
  }
  return usage;
}

async function entriesOf(path: string) {
  const directory = await ifExists(opendir(path, { bufferSize: 256 }));
  if (directory === undefined) return [];
  const found = [];
  for await (const { name } of directory) {
    const info = await ifExists(lstat(join(path, name)));
    if (info !== undefined) found.push({ name, info });
  }
  return found;
}
