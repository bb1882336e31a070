import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress, type Zlib } from 'node:zlib';
import { badCompression, type DecompressEngine, type OnOutput } from './decompress-engine.ts';

/** Compressed bytes that may wait for the thread pool. */
const QUEUE = 1024 * 1024;

/** Decompresses by the streams of Node: gzip of any number of members, or a frame of zstd. */
export class StreamEngine implements DecompressEngine {
  readonly #onOutput: OnOutput;
  readonly #stream: Transform & Zlib;
  readonly #over = Promise.withResolvers<void>();
  #given = 0;
  #ended = false;
  #failure: unknown;

  constructor(format: 'gzip' | 'zstd', chunkSize: number, onOutput: OnOutput) {
    this.#onOutput = onOutput;
    const options = { chunkSize, highWaterMark: QUEUE };
    this.#stream = format === 'zstd' ? createZstdDecompress(options) : createGunzip(options);
    this.#over.promise.catch(() => {});
    // Later, so that the stream hands its next piece to the thread pool first.
    this.#stream.on('data', (chunk: Buffer) => queueMicrotask(() => this.#hand(chunk)));
    this.#stream.on('end', () => queueMicrotask(() => this.#end()));
    this.#stream.on('error', (cause) => this.#fail(badCompression(cause)));
  }

  async write(chunk: Buffer): Promise<number> {
    this.#check();
    if (this.#ended) return chunk.length;
    this.#given += chunk.length;
    const consumed = new Promise<void>((resolve) => {
      this.#stream.write(chunk, () => resolve());
    });
    await Promise.race([consumed, this.#over.promise]);
    this.#check();
    return this.#ended ? this.#given - this.#stream.bytesWritten : 0;
  }

  async end(): Promise<void> {
    this.#check();
    this.#stream.end();
    await this.#over.promise;
    this.#check();
  }

  abandon(): void {
    this.#stream.destroy();
  }

  #hand(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      this.#onOutput(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  #end(): void {
    this.#ended = true;
    this.#over.resolve();
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#over.reject(this.#failure);
    this.abandon();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
