import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mount, unmount } from '../../src/linux/index.ts';
import type { Gunzip } from '../../src/oci/images/decompress.ts';
import type { WrittenLayer } from '../../src/oci/images/layer-files.ts';
import { settleLayer } from '../../src/oci/images/settle-layer.ts';
import { SharedProgress } from '../../src/oci/images/shared-progress.ts';
import { SharedSlots } from '../../src/oci/images/shared-slots.ts';
import { type UnpackJob, unpackLayer } from '../../src/oci/images/unpack-layer.ts';

const digestOf = (content: Buffer) =>
  `sha256:${createHash('sha256').update(content).digest('hex')}`;

export interface UnpackTestOptions {
  /** The blob, if it is not the archive itself. */
  blob?: Buffer;
  /** Promised digests, if they are not the right ones. */
  digest?: string;
  diffId?: string;
  limits?: { bytes: number; entries: number };
  refuseDevices?: boolean;
  gunzip?: Gunzip;
  /** Note small files first, as it is done where workers help each other. */
  noted?: boolean;
}

/** Unpacks an archive into `directory`, in this thread, as a worker does. */
export async function unpackArchive(
  archive: Buffer,
  directory: string,
  options: UnpackTestOptions = {},
): Promise<WrittenLayer> {
  const blob = options.blob ?? archive;
  await writeFile(`${directory}.blob`, blob);
  const progress = new SharedProgress();
  progress.advance(blob.length);
  progress.finish();
  const job: UnpackJob = {
    blob: `${directory}.blob`,
    size: blob.length,
    digest: options.digest ?? digestOf(blob),
    diffId: options.diffId ?? digestOf(archive),
    file: undefined,
    directory,
    limits: options.limits ?? { bytes: 1e9, entries: 1e5 },
    refuseDevices: options.refuseDevices ?? false,
    progress: progress.buffer,
    slots: options.noted ? new SharedSlots().buffer : undefined,
  };
  return unpackLayer(job, options.gunzip ?? 'auto');
}

/**
 * Unpacks layers, base first, and completes each with those below it. Answers the
 * directories of those that show, base first; `accounts` gets what each is said to take.
 */
export async function unpackStack(
  archives: readonly Buffer[],
  root: string,
  {
    accounts = new Map(),
    noted = false,
  }: { accounts?: Map<string, { bytes: number; inodes: number }>; noted?: boolean } = {},
): Promise<string[]> {
  const directories: string[] = [];
  for (const [index, archive] of archives.entries()) {
    const directory = join(root, `layer${index}`);
    const unpacked = await unpackArchive(archive, directory, { noted });
    const { implied, impliedAnew, foreignLinks, whiteouts } = unpacked;
    const below = directories.toReversed();
    const settled = settleLayer({
      directory,
      implied,
      impliedAnew,
      foreignLinks,
      whiteouts,
      below,
    });
    accounts.set(directory, {
      bytes: unpacked.bytes + settled.added.bytes,
      inodes: unpacked.inodes + settled.added.inodes,
    });
    if (unpacked.opaqueRoot || settled.opaqueRoot) directories.length = 0;
    directories.push(directory);
  }
  return directories;
}

/** Runs `work` on the overlay mount of layers, base first, as the kernel shows them. */
export async function withOverlay<T>(
  directories: readonly string[],
  root: string,
  work: (merged: string) => Promise<T> | T,
): Promise<T> {
  const merged = join(root, 'merged');
  const empty = join(root, 'empty');
  mkdirSync(merged, { recursive: true });
  mkdirSync(empty, { recursive: true });
  // The kernel wants two layers at least.
  const lower = [...directories.toReversed(), empty].join(':');
  mount({ source: 'overlay', target: merged, type: 'overlay', data: `lowerdir=${lower}` });
  try {
    return await work(merged);
  } finally {
    unmount(merged);
  }
}

/** What is under a directory, one line for each file: what it is, whose, and what it holds. */
export function describeTree(root: string): Record<string, string> {
  const lines: Record<string, string> = {};
  const walk = (relative: string) => {
    const directory = Buffer.from(`${root}/${relative}`, 'latin1');
    for (const name of readdirSync(directory, { encoding: 'latin1' }).sort()) {
      const path = relative === '' ? name : `${relative}/${name}`;
      const bytes = Buffer.from(`${root}/${path}`, 'latin1');
      const stat = lstatSync(bytes);
      lines[path] = describeFile(bytes, stat);
      if (stat.isDirectory()) walk(path);
    }
  };
  walk('');
  return lines;
}

function describeFile(path: Buffer, stat: ReturnType<typeof lstatSync> & object): string {
  const owner = `${stat.uid}:${stat.gid}`;
  const mode = (Number(stat.mode) & 0o7777).toString(8);
  if (stat.isSymbolicLink()) return `link ${owner} ${readlinkSync(path)}`;
  if (stat.isDirectory()) return `directory ${mode} ${owner}`;
  if (stat.isFIFO()) return `fifo ${mode} ${owner}`;
  if (stat.isCharacterDevice()) return `device ${mode} ${owner} ${stat.rdev}`;
  return `file ${mode} ${owner} ${readFileSync(path, 'latin1')}`;
}
