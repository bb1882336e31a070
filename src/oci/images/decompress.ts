import type { Transform } from 'node:stream';
import { createGunzip, createZstdDecompress, type Zlib } from 'node:zlib';
import { KeelsonError } from '../../base/index.ts';

/** Bytes of output that come at once: large, as each turn through the thread pool costs. */
const CHUNK = 256 * 1024;
/** The same for frames of zstd after the first: where there are several they are small. */
const SMALL_CHUNK = 64 * 1024;
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
  #engine: Engine | 'none' | undefined;

  constructor(onOutput: (chunk: Buffer) => void) {
    this.#onOutput = onOutput;
  }

  /** Whether a blob that begins so is compressed. */
  static recognises(head: Buffer): boolean {
    return begins(head, GZIP) || begins(head, ZSTD);
  }

  /** Resolves when `chunk` may be overwritten. */
  async write(chunk: Buffer): Promise<void> {
    if (this.#engine !== undefined) return this.#pass(chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length >= ZSTD.length) await this.#begin();
  }

  /** Resolves when all output has been handed over. */
  async end(): Promise<void> {
    if (this.#engine === undefined) await this.#begin();
    if (this.#engine instanceof Engine) await this.#engine.end();
  }

  /** Frees the decompressor's memory, after a failure. */
  abandon(): void {
    if (this.#engine instanceof Engine) this.#engine.abandon();
  }

  async #begin(): Promise<void> {
    const head = this.#head;
    this.#head = Buffer.alloc(0);
    this.#engine = Decompressor.recognises(head)
      ? new Engine(begins(head, ZSTD), CHUNK, this.#onOutput)
      : 'none';
    await this.#pass(head);
  }

  async #pass(chunk: Buffer): Promise<void> {
    if (this.#engine === 'none') {
      this.#onOutput(chunk);
      return;
    }
    let rest = chunk;
    while (this.#engine instanceof Engine && rest.length > 0) {
      const left = await this.#engine.write(rest);
      // Behind gzip only zeros may follow, which mean nothing.
      if (left === 0 || !this.#engine.isZstd) return;
      // The stream ends with a frame when another follows in the same piece.
      rest = rest.subarray(rest.length - left);
      this.#engine = new Engine(true, SMALL_CHUNK, this.#onOutput);
    }
  }
}

/** One decompressing stream. */
class Engine {
  readonly isZstd: boolean;
  readonly #onOutput: (chunk: Buffer) => void;
  readonly #stream: Transform & Zlib;
  readonly #over = Promise.withResolvers<void>();
  #given = 0;
  #ended = false;
  #failure: unknown;

  constructor(isZstd: boolean, chunkSize: number, onOutput: (chunk: Buffer) => void) {
    this.isZstd = isZstd;
    this.#onOutput = onOutput;
    const options = { chunkSize, highWaterMark: QUEUE };
    this.#stream = isZstd ? createZstdDecompress(options) : createGunzip(options);
    this.#over.promise.catch(() => {});
    // Later, so that the stream hands its next piece to the thread pool first.
    this.#stream.on('data', (chunk: Buffer) => queueMicrotask(() => this.#hand(chunk)));
    this.#stream.on('end', () => queueMicrotask(() => this.#end()));
    this.#stream.on('error', (cause) => this.#fail(badCompression(cause)));
  }

  /** Answers the bytes of `chunk` that lie behind the end. */
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

function begins(head: Buffer, magic: Buffer): boolean {
  return head.subarray(0, magic.length).equals(magic);
}

function badCompression(cause: Error): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot decompress layer', { cause });
}
