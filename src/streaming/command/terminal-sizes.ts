import type { Readable } from 'node:stream';
import type { TerminalSize } from '../backend.ts';

/** Characters of one message, spaces around it included. */
const MESSAGE_LIMIT = 1024;
const LARGEST_SIDE = 0xffff;

/**
 * The sizes of a client's terminal, for one consumer. Only the newest is kept: who draws
 * for a size that is over is wasting its time.
 */
export class TerminalSizes implements AsyncIterable<TerminalSize> {
  #newest: TerminalSize | undefined;
  #ended = false;
  #changed = Promise.withResolvers<void>();

  push(size: TerminalSize): void {
    this.#newest = size;
    this.#changed.resolve();
  }

  end(): void {
    this.#ended = true;
    this.#changed.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TerminalSize, void> {
    while (!this.#ended) {
      const size = this.#newest;
      this.#newest = undefined;
      if (size !== undefined) {
        yield size;
        continue;
      }
      await this.#changed.promise;
      this.#changed = Promise.withResolvers<void>();
    }
  }
}

/**
 * Reads the resize channel: JSON objects `{"Width":80,"Height":24}`, one after the other.
 * Sizes with a side out of 1..65535 are skipped; after what is no such object, the rest is.
 */
export function readSizes(channel: Readable, sizes: TerminalSizes): void {
  let text = '';
  channel.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    for (let end = text.indexOf('}'); end >= 0; end = text.indexOf('}')) {
      const message = parseSize(text.slice(0, end + 1));
      text = text.slice(end + 1);
      if (message === undefined) return ignoreRest(channel);
      if (isSide(message.width) && isSide(message.height)) sizes.push(message);
    }
    if (text.length > MESSAGE_LIMIT) ignoreRest(channel);
  });
}

function ignoreRest(channel: Readable): void {
  channel.removeAllListeners('data');
  channel.resume();
}

function parseSize(text: string): TerminalSize | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { Width, Height } = value as { Width?: unknown; Height?: unknown };
    return { width: Number(Width ?? 0), height: Number(Height ?? 0) };
  } catch {
    return undefined;
  }
}

function isSide(side: number): boolean {
  return Number.isInteger(side) && side >= 1 && side <= LARGEST_SIDE;
}
