import { IsalGunzip } from '../../linux/files.ts';
import type { DecompressEngine, OnOutput } from './decompress-engine.ts';
import { IsalEngine } from './isal-engine.ts';
import { StreamEngine } from './stream-engine.ts';

/** What decompresses gzip: the fastest that this host has, or zlib in any case. */
export const GUNZIPS = ['auto', 'zlib'] as const;
export type Gunzip = (typeof GUNZIPS)[number];

/** Bytes of output that come at once: large, as each turn through the thread pool costs. */
const CHUNK = 256 * 1024;
/** The same for frames of zstd after the first: where there are several they are small. */
const SMALL_CHUNK = 64 * 1024;

const GZIP = Buffer.from([0x1f, 0x8b, 0x08]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/**
 * Decompresses a blob that is pushed in chunks: gzip (also of several members), zstd (also
 * of several frames), or neither, told by the first bytes. After a failure, of its own or
 * of `onOutput`, only `abandon` may be called.
 */
export class Decompressor {
  readonly #gunzip: Gunzip;
  readonly #onOutput: OnOutput;
  #head = Buffer.alloc(0);
  #engine: DecompressEngine | 'none' | undefined;
  #isZstd = false;

  constructor(gunzip: Gunzip, onOutput: OnOutput) {
    this.#gunzip = gunzip;
    this.#onOutput = onOutput;
  }

  /** Whether a blob that begins so is compressed. */
  static recognises(head: Buffer): boolean {
    return begins(head, GZIP) || begins(head, ZSTD);
  }

  /** Resolves when `chunk` may be overwritten. */
  async write(chunk: Buffer): Promise<void> {
    if (this.#engine !== undefined) return this.#pass(this.#engine, chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length >= ZSTD.length) await this.#begin();
  }

  /** Resolves when all output has been handed over. */
  async end(): Promise<void> {
    if (this.#engine === undefined) await this.#begin();
    if (this.#engine !== 'none') await this.#engine?.end();
  }

  /** Frees the decompressor's memory, after a failure. */
  abandon(): void {
    if (this.#engine !== 'none') this.#engine?.abandon();
  }

  async #begin(): Promise<void> {
    const head = this.#head;
    this.#head = Buffer.alloc(0);
    this.#isZstd = begins(head, ZSTD);
    if (this.#isZstd) this.#engine = new StreamEngine('zstd', CHUNK, this.#onOutput);
    else this.#engine = begins(head, GZIP) ? await this.#openGunzip() : 'none';
    await this.#pass(this.#engine, head);
  }

  async #openGunzip(): Promise<DecompressEngine> {
    const isal = this.#gunzip === 'auto' ? await IsalGunzip.open() : undefined;
    if (isal !== undefined) return new IsalEngine(isal, CHUNK, this.#onOutput);
    return new StreamEngine('gzip', CHUNK, this.#onOutput);
  }

  async #pass(engine: DecompressEngine | 'none', chunk: Buffer): Promise<void> {
    if (engine === 'none') {
      this.#onOutput(chunk);
      return;
    }
    let [current, rest] = [engine, chunk];
    while (rest.length > 0) {
      const left = await current.write(rest);
      // Behind gzip only zeros may follow, which mean nothing.
      if (left === 0 || !this.#isZstd) return;
      rest = rest.subarray(rest.length - left);
      // The stream ends with a frame when another follows in the same piece.
      current = new StreamEngine('zstd', SMALL_CHUNK, this.#onOutput);
      this.#engine = current;
    }
  }
}

function begins(head: Buffer, magic: Buffer): boolean {
  return head.subarray(0, magic.length).equals(magic);
}
