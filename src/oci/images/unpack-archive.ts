import { stat } from 'node:fs/promises';
import type { LayerLimits } from './layer-writer.ts';
import { SharedProgress } from './shared-progress.ts';
import type { UnpackPool } from './unpack-pool.ts';

export interface ArchiveToUnpack {
  /** A tar archive, plain or compressed. */
  path: string;
  /** Made and filled, in the form that overlayfs takes as an upper or lower directory. */
  directory: string;
}

/** Unpacks an archive from anywhere with the care that layers get: nothing leads out of it. */
export async function unpackArchive(
  { path, directory }: ArchiveToUnpack,
  parts: { pool: UnpackPool; limits: LayerLimits },
  signal: AbortSignal,
): Promise<void> {
  const { size } = await stat(path);
  const file = { path, offset: 0, size, algorithm: 'sha256' } as const;
  const digest = await parts.pool.perform('hash', file, signal);
  const progress = new SharedProgress();
  progress.advance(size);
  progress.finish();
  const abandon = () => progress.abandon();
  signal.addEventListener('abort', abandon, { once: true });
  try {
    const place = { blob: path, size, digest, diffId: undefined, file: undefined, directory };
    const care = { limits: parts.limits, refuseDevices: false, progress: progress.buffer };
    await parts.pool.perform('unpack', { ...place, ...care }, signal);
  } finally {
    signal.removeEventListener('abort', abandon);
  }
}
