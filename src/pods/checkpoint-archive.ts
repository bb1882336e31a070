import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KeelsonError } from '../base/index.ts';
import { type RunResult, run } from '../linux/index.ts';

/** What lies in a checkpoint archive, as CRI-O and containerd name it. */
export const CHECKPOINT_FILES = {
  /** A directory with the images of criu. */
  images: 'checkpoint',
  config: 'config.dump',
  spec: 'spec.dump',
  changes: 'rootfs-diff.tar',
  deleted: 'deleted.files',
  log: 'container.log',
  dumpLog: 'dump.log',
  statistics: 'stats-dump',
} as const;

/** The part of `config.dump` that says what a checkpoint is of (checkpointctl, metadata). */
export interface CheckpointDescription {
  id: string;
  name: string;
  /** The image's name, a digest reference and its id: whichever is here says what lies below. */
  rootfsImageName: string;
  rootfsImageRef: string;
  rootfsImage: string;
  /** The runtime that can restore it. */
  runtime: string;
  createdTime: string;
  checkpointedTime: string;
}

const LONGEST_DESCRIPTION = 1 << 20;

/** Reads a `config.dump` from whoever wrote it. What must be a text and is none counts as ''. */
export function parseDescription(content: Buffer | string, source: string): CheckpointDescription {
  const problem = (reason: string) =>
    new KeelsonError('INVALID_ARGUMENT', `Cannot use checkpoint "${source}"`, { reason });
  if (content.length > LONGEST_DESCRIPTION) throw problem('its config.dump is too large');
  let parsed: unknown;
  try {
    parsed = JSON.parse(content.toString());
  } catch {
    throw problem('it has no config.dump in JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) throw problem('its config.dump is no object');
  const fields = new Map(Object.entries(parsed));
  const text = (key: keyof CheckpointDescription) => {
    const value: unknown = fields.get(key);
    return typeof value === 'string' ? value : '';
  };
  return {
    id: text('id'),
    name: text('name'),
    rootfsImageName: text('rootfsImageName'),
    rootfsImageRef: text('rootfsImageRef'),
    rootfsImage: text('rootfsImage'),
    runtime: text('runtime'),
    createdTime: text('createdTime'),
    checkpointedTime: text('checkpointedTime'),
  };
}

/** Reads one file of an archive without unpacking any. Empty if it is not there. */
export async function readFromArchive(
  path: string,
  name: string,
  signal: AbortSignal,
): Promise<Buffer> {
  // Tar writes names with and without "./".
  for (const member of [name, `./${name}`]) {
    const result = await run('tar', ['-xOf', path, '--occurrence=1', '--', member], {
      signal,
      outputLimit: LONGEST_DESCRIPTION + 1,
      excess: 'kill',
    });
    if (result.stdout.length > 0) return result.stdout;
  }
  return Buffer.alloc(0);
}

/** Packs parts of a directory as a new file that only root can read. */
export async function packArchive(
  directory: string,
  parts: readonly string[],
  archive: string,
  signal: AbortSignal,
): Promise<void> {
  const names = new Set(await readdir(directory));
  const here = parts.filter((part) => names.has(part));
  await tar(['--numeric-owner', '-cf', archive, '-C', directory, '--', ...here], signal);
}

/** Packs files of a directory: paths from its root, bytes as Latin-1. */
export async function packFiles(
  directory: string,
  paths: readonly string[],
  archive: string,
  signal: AbortSignal,
): Promise<void> {
  const list = Buffer.from(paths.map((path) => `./${path}\0`).join(''), 'latin1');
  const xattrs = ['--xattrs', '--xattrs-include=*', '--xattrs-exclude=trusted.overlay.*'];
  const listed = ['--no-recursion', '--null', '--verbatim-files-from', '--files-from=-'];
  const args = ['--numeric-owner', '--sparse', ...xattrs, '-C', directory, ...listed];
  await tar(['-cf', archive, ...args], signal, list);
}

async function tar(args: string[], signal: AbortSignal, input?: Buffer): Promise<void> {
  const given = input === undefined ? {} : { input };
  const result: RunResult = await run('tar', args, { signal, ...given });
  if (result.code === 0) return;
  const said = result.stderr.toString().trim().split('\n');
  const isFull = said.some((line) => /No space left|Wrote only/.test(line));
  throw new KeelsonError(isFull ? 'RESOURCE_EXHAUSTED' : 'UNKNOWN', 'Cannot pack a checkpoint', {
    reason: isFull ? 'no space left on device' : (said[0] ?? ''),
  });
}

/** Fails unless a directory of images holds nothing but files: criu follows links. */
export async function checkImages(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if ((await lstat(join(directory, name))).isFile()) continue;
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use a checkpoint', {
      reason: `"${CHECKPOINT_FILES.images}/${name}" is not a regular file`,
    });
  }
}
