import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ifExists } from './errors.ts';

export interface WriteOptions {
  mode?: number;
  /** Survive a power loss: file and directory are flushed to the disk. */
  durable?: boolean;
}

/** Replaces a file as a whole: a reader, or a start after a crash, finds the old or the new content. */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: WriteOptions = {},
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await writeNew(temporary, content, options);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  if (options.durable) await syncDirectory(dirname(path));
}

async function writeNew(
  path: string,
  content: string | Uint8Array,
  options: WriteOptions,
): Promise<void> {
  await using file = await open(path, 'wx', options.mode ?? 0o600);
  await file.writeFile(content);
  if (options.durable) await file.sync();
}

/** Flushes the names in a directory to the disk. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}

/** The content of a text file, undefined if there is none. */
export function readTextIfExists(path: string): Promise<string | undefined> {
  return ifExists(readFile(path, 'utf8'));
}
