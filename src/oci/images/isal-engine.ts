import type { IsalGunzip } from '../../linux/files.ts';
import { badCompression, type DecompressEngine, type OnOutput } from './decompress-engine.ts';
import { giveBack, takeBuffer } from './spare-buffers.ts';

/**
 * Decompresses gzip of any number of members by ISA-L. Its two buffers take turns: one is
 * filled while the other is being worked on, so that no memory is made for output.
 */
export class IsalEngine implements DecompressEngine {
  readonly #gunzip: IsalGunzip;
  readonly #onOutput: OnOutput;
  readonly #buffers: readonly [Buffer, Buffer];
  #turn: 0 | 1 = 0;
  /** Zeros have come behind a member: all that follows means nothing. */
  #over = false;

  constructor(gunzip: IsalGunzip, chunkSize: number, onOutput: OnOutput) {
    this.#gunzip = gunzip;
    this.#onOutput = onOutput;
    this.#buffers = [takeBuffer(chunkSize), takeBuffer(chunkSize)];
  }

  async write(chunk: Buffer): Promise<number> {
    if (this.#over) return chunk.length;
    this.#gunzip.give(chunk);
    let filling = this.#hasMore(false) ? this.#fill() : undefined;
    while (filling !== undefined) {
      const { output, isFull } = await filling;
      filling = this.#hasMore(isFull) ? this.#fill() : undefined;
      try {
        this.#onOutput(output);
      } catch (error) {
        // The library still writes to the other buffer.
        await Promise.allSettled([filling]);
        throw error;
      }
    }
    return this.#over ? this.#gunzip.left : 0;
  }

  async end(): Promise<void> {
    if (!this.#gunzip.ended) throw badCompression(new Error('unexpected end of file'));
    giveBack(...this.#buffers);
  }

  abandon(): void {}

  /** Whether there is more to decompress for now; begins the next member if one is over. */
  #hasMore(outputIsFull: boolean): boolean {
    if (!this.#gunzip.ended) return outputIsFull || this.#gunzip.left > 0;
    const next = this.#gunzip.nextByte;
    this.#over = next === 0;
    if (next === undefined || this.#over) return false;
    this.#gunzip.restart();
    return true;
  }

  async #fill(): Promise<{ output: Buffer; isFull: boolean }> {
    const buffer = this.#buffers[this.#turn];
    this.#turn = this.#turn === 0 ? 1 : 0;
    try {
      const made = await this.#gunzip.inflate(buffer);
      return { output: buffer.subarray(0, made), isFull: made === buffer.length };
    } catch (cause) {
      throw badCompression(cause);
    }
  }
}
