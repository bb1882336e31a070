import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { KeelsonError } from '../../base/index.ts';

/** Bytes of output that come at once: large, as each turn through the thread pool costs. */
const CHUNK = 512 * 1024;
/** Compressed bytes that may wait for the thread pool. */
const QUEUE = 1024 * 1024;

const GZIP = Buffer.from([0x1f, 0x8b, 0x08]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/**
 * Decompresses a blob that is pushed in chunks: gzip (also of several members), zstd (also
 * of several frames), or neither, told by the first bytes. Decompression runs in the
 * thread pool while `onOutput` works on what came before. Once `onOutput` has failed, no
 * more comes, and `write` and `end` fail with what it threw.
 */
export class Decompressor {
  readonly #onOutput: (chunk: Buffer) => void;
  #head = Buffer.alloc(0);
  #stream: Transform | 'none' | undefined;
  #failure: unknown;
  #ended = Promise.withResolvers<void>();

  constructor(onOutput: (chunk: Buffer) => void) {
    this.#onOutput = onOutput;
    this.#ended.promise.catch(() => {});
  }

  /** Whether a blob that begins so is compressed. */
  static recognises(head: Buffer): boolean {
    return begins(head, GZIP) || begins(head, ZSTD);
  }

  /** Resolves when `chunk` may be overwritten. */
  async write(chunk: Buffer): Promise<void> {
    this.#check();
    if (this.#stream !== undefined) return this.#pass(chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length >= ZSTD.length) await this.#begin();
  }

  /** Resolves when all output has been handed over. */
  async end(): Promise<void> {
    this.#check();
    if (this.#stream === undefined) await this.#begin();
    if (this.#stream !== undefined && this.#stream !== 'none') {
      this.#stream.end();
      await this.#ended.promise;
    }
    this.#check();
  }

  /** Frees the decompressor's memory, after a failure. */
  abandon(): void {
    if (this.#stream !== undefined && this.#stream !== 'none') this.#stream.destroy();
  }

  async #begin(): Promise<void> {
    const head = this.#head;
    this.#head = Buffer.alloc(0);
    this.#stream = this.#open(head);
    await this.#pass(head);
  }

  #open(head: Buffer): Transform | 'none' {
    const options = { chunkSize: CHUNK, highWaterMark: QUEUE };
    if (!Decompressor.recognises(head)) return 'none';
    const stream = begins(head, GZIP) ? createGunzip(options) : createZstdDecompress(options);
    // Later, so that the stream hands its next piece to the thread pool first.
    stream.on('data', (chunk: Buffer) => queueMicrotask(() => this.#hand(chunk)));
    stream.on('end', () => queueMicrotask(() => this.#ended.resolve()));
    stream.on('error', (cause) => this.#fail(badCompression(cause)));
    return stream;
  }

  async #pass(chunk: Buffer): Promise<void> {
    const stream = this.#stream;
    if (stream === 'none') this.#hand(chunk);
    else if (stream !== undefined && chunk.length > 0) {
      const consumed = new Promise<void>((resolve) => {
        stream.write(chunk, () => resolve());
      });
      await Promise.race([consumed, this.#ended.promise]);
    }
    this.#check();
  }

  #hand(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      this.#onOutput(chunk);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#ended.reject(this.#failure);
    this.abandon();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

function begins(head: Buffer, magic: Buffer): boolean {
  return head.subarray(0, magic.length).equals(magic);
}

function badCompression(cause: Error): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot decompress layer', { cause });
}
