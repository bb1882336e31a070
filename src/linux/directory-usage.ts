import type { Stats } from 'node:fs';
import { lstat, opendir, stat } from 'node:fs/promises';
import { ifExists } from '../base/index.ts';

export interface DirectoryUsage {
  /** On the disk, in whole blocks. */
  bytes: number;
  inodes: number;
}

const BLOCK = 512;

/**
 * What a directory holds, itself included; undefined if it is not there. Walks it without
 * following links or crossing into other file systems. A file with several names counts
 * once; what lies too deep to be named, or cannot be read, not at all. Answers `beyond` if
 * there are more than `limit` inodes.
 */
export async function directoryUsage(
  root: string,
  limit = Number.POSITIVE_INFINITY,
): Promise<DirectoryUsage | 'beyond' | undefined> {
  const top = await ifExists(stat(root));
  if (top === undefined) return undefined;
  const usage = { bytes: top.blocks * BLOCK, inodes: 1 };
  const linked = new Set<number>();
  // A name is any bytes: here each byte is a character.
  const waiting = [Buffer.from(root).toString('latin1')];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for await (const { name, info } of entriesOf(path)) {
      if (info.dev !== top.dev || linked.has(info.ino)) continue;
      if (info.nlink > 1 && !info.isDirectory()) linked.add(info.ino);
      usage.bytes += info.blocks * BLOCK;
      usage.inodes++;
      if (usage.inodes > limit) return 'beyond';
      if (info.isDirectory()) waiting.push(`${path}/${name}`);
    }
  }
  return usage;
}

async function* entriesOf(path: string): AsyncGenerator<{ name: string; info: Stats }> {
  try {
    const options = { encoding: 'latin1', bufferSize: 256 } as const;
    for await (const { name } of await opendir(bytes(path), options)) {
      const info = await lstat(bytes(`${path}/${name}`)).catch(() => undefined);
      if (info !== undefined) yield { name, info };
    }
  } catch {
    // It went away, or cannot be read.
  }
}

function bytes(path: string): Buffer {
  return Buffer.from(path, 'latin1');
}
