import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync } from 'node:fs';
import { codeOf, KeelsonError } from '../../base/errors.ts';
import { Decompressor, type Gunzip } from './decompress.ts';
import type { WrittenLayer } from './layer-files.ts';
import { type LayerLimits, LayerWriter } from './layer-writer.ts';
import { SharedProgress } from './shared-progress.ts';
import { SharedSlots } from './shared-slots.ts';
import { SmallFiles } from './small-files.ts';
import { giveBack, takeBuffer } from './spare-buffers.ts';
import { TarReader } from './tar-reader.ts';
import { tooLarge } from './unpack-errors.ts';

/** A layer to unpack, in a form that can be sent to a worker. */
export interface UnpackJob {
  /** The file that the blob is being written to. */
  blob: string;
  /** Its whole size in bytes. */
  size: number;
  digest: string;
  /** The digest of the archive inside; undefined for whichever it has. */
  diffId: string | undefined;
  /** The blob is not an archive but the content of this file. */
  file: string | undefined;
  /** The directory to make and fill, absolute. */
  directory: string;
  limits: LayerLimits;
  refuseDevices: boolean;
  progress: SharedArrayBuffer;
  /** Where small files are noted for other threads to write, see SmallFiles. */
  slots?: SharedArrayBuffer | undefined;
}

const READ_SIZE = 1024 * 1024;

/**
 * Unpacks a layer while its blob is still being written. Reads each byte once: hashed,
 * decompressed, hashed again and written to the layer's files.
 * Fails with DATA_LOSS if a digest is not the promised one; a malformed layer is reported
 * only when its blob is known to be the one meant.
 */
export async function unpackLayer(job: UnpackJob, gunzip: Gunzip): Promise<WrittenLayer> {
  mkdirSync(job.directory, 0o755);
  const blob = new FollowedBlob(job);
  try {
    try {
      const layer = await unpack(job, gunzip, blob);
      blob.giveBack();
      return layer;
    } catch (error) {
      if (codeOf(error) !== 'INVALID_ARGUMENT') throw error;
      for await (const _ of blob.chunks()) {
        // Only the digest is wanted now.
      }
      blob.verify();
      throw error;
    }
  } finally {
    blob.close();
  }
}

async function unpack(job: UnpackJob, gunzip: Gunzip, blob: FollowedBlob): Promise<WrittenLayer> {
  const writer = new LayerWriter({
    root: job.directory,
    limits: job.limits,
    refuseDevices: job.refuseDevices,
    smallFiles: job.slots && new SmallFiles(new SharedSlots(job.slots), job.directory),
  });
  try {
    if (job.file === undefined) await unpackArchive(job, gunzip, blob, writer);
    else await writeFile(job.file, job.size, blob, writer);
    return writer.finish();
  } finally {
    writer.abandon();
  }
}

async function unpackArchive(
  job: UnpackJob,
  gunzip: Gunzip,
  blob: FollowedBlob,
  writer: LayerWriter,
): Promise<void> {
  const algorithm = algorithmOf(job.diffId ?? job.digest);
  const archive = createHash(algorithm);
  const reader = new TarReader(writer);
  let written = 0;
  const decompressor = new Decompressor(gunzip, (chunk) => {
    archive.update(chunk);
    reader.push(chunk);
    written += chunk.length;
    refuseBomb(written, job.limits);
  });
  try {
    for await (const chunk of blob.chunks()) await decompressor.write(chunk);
    await decompressor.end();
  } finally {
    decompressor.abandon();
  }
  blob.verify();
  reader.finish();
  const diffId = `${algorithm}:${archive.digest('hex')}`;
  if (job.diffId === undefined || job.diffId === diffId) return;
  throw new KeelsonError('DATA_LOSS', `Cannot trust layer "${job.digest}"`, {
    reason: `the digest of its archive is ${diffId}, not ${job.diffId}`,
  });
}

async function writeFile(
  name: string,
  size: number,
  blob: FollowedBlob,
  writer: LayerWriter,
): Promise<void> {
  writer.entry({
    type: 'file',
    name: Buffer.from(name).toString('latin1'),
    linkName: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size,
    mtime: { seconds: 0, nanoseconds: 0 },
    major: 0,
    minor: 0,
    xattrs: [],
  });
  let position = 0;
  for await (const chunk of blob.chunks()) {
    writer.data(chunk, 0, chunk.length, position);
    position += chunk.length;
  }
  writer.endEntry();
  blob.verify();
}

/** Digests have been checked where the job was made; the worker starts faster without what checks them. */
function algorithmOf(digest: string): string {
  return digest.slice(0, digest.indexOf(':'));
}

/** Headers and what follows the end of an archive are bytes too. */
function refuseBomb(written: number, limits: LayerLimits): void {
  if (written <= limits.bytes + limits.entries * 2048) return;
  throw tooLarge(`its archive is larger than ${limits.bytes} bytes`);
}

/** Reads a blob as far as it is there, waits for more, and hashes what it reads. */
class FollowedBlob {
  readonly #job: UnpackJob;
  readonly #progress: SharedProgress;
  readonly #hash;
  readonly #fd: number;
  /** Used in turn: one is being decompressed while the next is read. */
  readonly #buffers = [takeBuffer(READ_SIZE), takeBuffer(READ_SIZE)];
  #position = 0;
  #verified = false;
  #turn = 0;

  constructor(job: UnpackJob) {
    this.#job = job;
    this.#progress = new SharedProgress(job.progress);
    this.#hash = createHash(algorithmOf(job.digest));
    this.#fd = openSync(job.blob, 'r');
  }

  async *chunks(): AsyncGenerator<Buffer> {
    while (this.#position < this.#job.size) {
      await this.#progress.beyond(this.#position);
      if (this.#progress.abandoned) {
        throw new KeelsonError('CANCELLED', `Cannot unpack layer "${this.#job.digest}"`, {
          reason: 'its download was given up',
        });
      }
      const chunk = this.#read();
      if (chunk.length === 0) throw this.#truncated();
      this.#hash.update(chunk);
      this.#position += chunk.length;
      yield chunk;
      this.#progress.consumed = this.#position;
    }
  }

  verify(): void {
    if (this.#verified) return;
    const algorithm = algorithmOf(this.#job.digest);
    const actual = `${algorithm}:${this.#hash.digest('hex')}`;
    this.#verified = actual === this.#job.digest;
    if (this.#verified) return;
    throw new KeelsonError('DATA_LOSS', `Cannot trust layer "${this.#job.digest}"`, {
      reason: `the digest of what was downloaded is ${actual}`,
    });
  }

  /** Lets its buffers be used again, once nobody reads them. */
  giveBack(): void {
    giveBack(...this.#buffers);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #read(): Buffer {
    const buffer = this.#buffers[this.#turn++ % this.#buffers.length] ?? Buffer.alloc(0);
    const available = Math.min(this.#progress.available, this.#job.size) - this.#position;
    const wanted = Math.min(buffer.length, available);
    return buffer.subarray(0, readSync(this.#fd, buffer, 0, wanted, this.#position));
  }

  #truncated(): KeelsonError {
    return new KeelsonError('DATA_LOSS', `Cannot trust layer "${this.#job.digest}"`, {
      reason: `it has ${this.#position} of ${this.#job.size} bytes`,
    });
  }
}
