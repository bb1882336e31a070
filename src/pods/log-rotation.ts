import { constants } from 'node:fs';
import { type FileHandle, link, lstat, open, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { faultPoint, ifExists, readTextIfExists, writeFileAtomic } from '../base/index.ts';
import { type FileIdentity, isSameFile } from '../linux/index.ts';
import { containerPaths } from './container-paths.ts';
import type { Pods } from './pods.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDWR, O_WRONLY } = constants;

/**
 * What there is while a log is rotated. The names are hidden: kubelets take `LOG.*` for
 * rotated logs.
 */
export interface RotationFiles {
  /** The log. */
  path: string;
  /** Another name of the file that was the log. */
  old: string;
  /** The file that becomes the log. While there is this, a rotation is under way. */
  next: string;
  /** What is to be moved between the two: the monitor is held while there is this. */
  move: string;
}

/** Of a container that has a log. */
export function rotationFiles(pods: Pods, id: string, path: string): RotationFiles {
  const beside = (what: string) => join(dirname(path), `.${basename(path)}.keelson-${what}`);
  const { directory } = containerPaths(pods, id);
  return { path, old: beside('old'), next: beside('next'), move: join(directory, 'log-move') };
}

/**
 * Gives the file that a monitor writes its second name. It has been renamed, as kubelets do, to
 * a name that begins with the log's. Nothing is moved to one that is not found, or whose file
 * system has no second names.
 */
export async function keepOld({ path, old }: RotationFiles, left: FileIdentity): Promise<void> {
  const directory = dirname(path);
  for (const name of await readdir(directory)) {
    if (!name.startsWith(basename(path))) continue;
    const found = await ifExists(lstat(join(directory, name)));
    if (found === undefined || !isSameFile(found, left)) continue;
    return link(join(directory, name), old).catch(() => {});
  }
}

export async function makeNext({ next }: RotationFiles): Promise<void> {
  await using _file = await open(next, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o640);
}

/** Opens a file of a rotation, if it is there and what it should be; the names are in reach of others. */
export async function openRegular(path: string): Promise<FileHandle | undefined> {
  const file = await ifExists(open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK));
  if (file === undefined || (await file.stat()).isFile()) return file;
  await file.close();
  return undefined;
}

/** The rest of lines that is in the next file and belongs to the end of the old one. */
export interface Move {
  /** Bytes that the old file had. */
  at: number;
  rest: Buffer;
  /** What the next file is to hold instead of what it holds. */
  others: Buffer;
}

export async function recordMove({ move }: RotationFiles, { at, rest, others }: Move) {
  const parts = { rest: rest.toString('base64'), others: others.toString('base64') };
  await writeFileAtomic(move, JSON.stringify({ at, ...parts }));
}

/**
 * Moves what is recorded, from the start or after it was cut short, and removes the record. If
 * the rest cannot be added to the old file, both stay as they are.
 */
export async function moveRecorded(files: RotationFiles): Promise<void> {
  const text = await readTextIfExists(files.move);
  if (text === undefined) return;
  const { at, rest, others } = JSON.parse(text) as { at: number; rest: string; others: string };
  await using old = await openRegular(files.old);
  await using next = await openRegular(files.next);
  try {
    await write(old, Buffer.from(rest, 'base64'), at);
    faultPoint('finish-log-rotation/add to old file');
    const bytes = Buffer.from(others, 'base64');
    await write(next, bytes, 0);
    faultPoint('finish-log-rotation/write next file');
    await next?.truncate(bytes.length);
  } catch (error) {
    await old?.truncate(at);
    throw error;
  } finally {
    await rm(files.move);
  }
}

async function write(file: FileHandle | undefined, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; file !== undefined && done < bytes.length; ) {
    const left = bytes.length - done;
    done += (await file.write(bytes, done, left, position + done)).bytesWritten;
  }
}
