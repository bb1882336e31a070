import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { during } from '../../base/index.ts';
import { archivedImages } from './archive-contents.ts';
import { ArchiveSource } from './archive-source.ts';
import type { LayerLimits } from './layer-writer.ts';
import type { Layout } from './layout.ts';
import type { Puller } from './pull.ts';
import type { UnpackPool } from './unpack-pool.ts';

/** An archive: the path of a file, or its bytes. */
export type ArchiveInput = string | AsyncIterable<Uint8Array>;

export interface LoadParts {
  layout: Layout;
  pool: UnpackPool;
  puller: Puller;
  limits: LayerLimits;
}

/**
 * Loads the images of an OCI archive or of one written by `docker save`, plain or
 * compressed, verified like what comes from a registry. Answers their ids.
 */
export async function loadArchive(
  input: ArchiveInput,
  parts: LoadParts,
  signal: AbortSignal,
): Promise<string[]> {
  const { layout, pool, puller, limits } = parts;
  const name = join(layout.spool, randomUUID());
  const received = `${name}.tar`;
  const spool = `${name}.plain`;
  try {
    if (typeof input !== 'string') {
      await pipeline(Readable.from(input), createWriteStream(received, { mode: 0o600 }), {
        signal,
      });
    }
    const archive = typeof input === 'string' ? input : received;
    const index = await pool.perform('index', { archive, spool, limit: limits.bytes }, signal);
    await using source = await ArchiveSource.open(index);
    const images = await archivedImages(source, (job) => pool.perform('hash', job, signal));
    const ids: string[] = [];
    for (const { manifest, tags } of images) {
      const [tag, ...others] = tags;
      const names = { tag, digest: undefined };
      const id = await puller.assemble(manifest, source, { names, signal });
      for (const other of others) await puller.addTag(id, other);
      ids.push(id);
    }
    return ids;
  } catch (error) {
    signal.throwIfAborted();
    throw during('Cannot load image archive', error);
  } finally {
    await rm(received, { force: true });
    await rm(spool, { force: true });
  }
}
