import { open, rename, rm, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { during, ifExists } from '../base/index.ts';
import type { AuthConfig } from '../gen/runtime/v1/api.ts';
import { askAdmin, askAdminJson, authHeader } from './admin-client.ts';
import type { Context } from './context.ts';
import { usageError } from './failures.ts';
import { print } from './output.ts';

/** An image that was loaded. */
export interface LoadedImage {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
}

/** Loads the images of an archive: of a file, or of stdin. */
export async function loadImages(
  context: Context,
  file: string | undefined,
): Promise<LoadedImage[]> {
  const body = await archiveOf(context, file);
  const cri = await context.cri();
  return askAdminJson<LoadedImage[]>(cri, {
    ...{ method: 'POST', path: '/images/load', body, signal: context.signal },
    headers: { 'Content-Type': 'application/x-tar' },
  });
}

async function archiveOf({ stdin }: Context, file: string | undefined): Promise<Readable> {
  if (file !== undefined && file !== '-') {
    const handle = await open(file).catch((error: unknown) => {
      throw usageError(during(`Cannot read "${file}"`, error).message);
    });
    return handle.createReadStream({ highWaterMark: 1024 * 1024 });
  }
  if (stdin.isTTY) throw usageError('Name an archive with --input, or send one to stdin');
  return stdin as Readable;
}

export interface SaveOptions {
  /** `-` or nothing: stdout. */
  readonly output?: string;
  readonly format: 'oci' | 'docker';
  readonly auth: AuthConfig | undefined;
}

/** Writes an archive of images to a file, which is there only when it is whole, or to stdout. */
export async function saveImages(
  context: Context,
  references: readonly string[],
  { output = '-', format, auth }: SaveOptions,
): Promise<void> {
  const { stdout, signal } = context;
  if (output === '-' && stdout.isTTY) {
    throw usageError('An archive is nothing for a terminal: name a file with --output');
  }
  const query = new URLSearchParams({ format });
  for (const reference of references) query.append('reference', reference);
  const path = `/images/save?${query}`;
  const archive = await askAdmin(await context.cri(), {
    ...{ path, signal, headers: authHeader(auth) },
  });
  try {
    if (output === '-') for await (const piece of archive) await print(stdout, piece);
    else await writeWhole(archive, output);
  } catch (error) {
    signal.throwIfAborted();
    throw during(`Cannot save images to "${output}"`, error);
  }
}

async function writeWhole(archive: Readable, path: string): Promise<void> {
  const there = await ifExists(stat(path));
  const isSpecial = there !== undefined && !there.isFile();
  const target = isSpecial ? path : `${path}.${process.pid}.partial`;
  try {
    const file = await open(target, isSpecial ? 'w' : 'wx', 0o600);
    await pipeline(archive, file.createWriteStream());
    if (!isSpecial) await rename(target, path);
  } catch (error) {
    archive.destroy();
    if (!isSpecial) await rm(target, { force: true });
    throw error;
  }
}
