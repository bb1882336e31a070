import { type FileHandle, open } from 'node:fs/promises';
import { during } from '../../base/index.ts';
import type { BlobSink } from '../registry/index.ts';
import type { SharedProgress } from './shared-progress.ts';

/**
 * Bytes that may wait to be written before a transfer is held back. With more of them the
 * collector looks through all objects of the daemon in the middle of a pull.
 */
const QUEUE_LIMIT = 1024 * 1024;

/** A blob's file while it is being downloaded. Chunks are gathered and written together. */
export class PartialBlob implements BlobSink, AsyncDisposable {
  /** Bytes that were there when it was opened. */
  readonly resumedAt: number;
  readonly #file: FileHandle;
  readonly #progress: SharedProgress;
  readonly #onClose: (bytes: number) => void;
  #queue: Buffer[] = [];
  #queued = 0;
  #written: number;
  #writing: Promise<void> | undefined;
  #failure: unknown;

  private constructor(
    file: FileHandle,
    written: number,
    progress: SharedProgress,
    onClose: (bytes: number) => void,
  ) {
    this.#file = file;
    this.#written = written;
    this.resumedAt = written;
    this.#progress = progress;
    this.#onClose = onClose;
  }

  /** Opens the file, made if need be. More than `size` bytes in it are of another blob: it starts anew. */
  static async open(
    path: string,
    size: number,
    progress: SharedProgress,
    onClose: (bytes: number) => void,
  ): Promise<PartialBlob> {
    const file = await open(path, 'a+', 0o600);
    try {
      let { size: there } = await file.stat();
      if (there > size) {
        await file.truncate(0);
        there = 0;
      }
      progress.advance(there);
      return new PartialBlob(file, there, progress, onClose);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get offset(): number {
    return this.#written + this.#queued;
  }

  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#queue.push(chunk);
    this.#queued += chunk.length;
    this.#writing ??= this.#drain();
    return this.#queued > QUEUE_LIMIT ? this.flush() : undefined;
  }

  /** Resolves when all that was handed over is in the file. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
    await this.#file.close();
    this.#onClose(this.#written);
  }

  /** Never rejects: a failure is reported to whoever writes or flushes next. */
  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        const chunks = this.#queue;
        this.#queue = [];
        await this.#append(chunks);
      }
    } catch (error) {
      this.#failure = during('Cannot store what was downloaded', error);
      this.#queue = [];
    } finally {
      this.#queued = 0;
      this.#writing = undefined;
    }
  }

  async #append(chunks: Buffer[]): Promise<void> {
    const wanted = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const { bytesWritten } = await this.#file.writev(chunks);
    if (bytesWritten < wanted) {
      // The file system had no room for all: writing the rest says why.
      await this.#file.appendFile(Buffer.concat(chunks).subarray(bytesWritten));
    }
    for (const chunk of chunks) free(chunk);
    this.#written += wanted;
    this.#queued -= wanted;
    this.#progress.advance(this.#written);
  }
}

/**
 * Gives a chunk's memory back at once if all of it is the chunk's. The collector would let
 * hundreds of them gather, and then look through all objects of the daemon.
 */
function free({ length, buffer }: Buffer): void {
  if (length === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
