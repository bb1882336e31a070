import { constants, createInflate, type Inflate } from 'node:zlib';
import { malformed } from './frames.ts';
import { type Headers, parseHeaderBlock } from './header-block.ts';
import { HEADER_DICTIONARY } from './header-dictionary.ts';

/** Bytes of a header block when decompressed. */
const PLAIN_LIMIT = 64 * 1024;

/**
 * Reads header blocks as they come compressed. All blocks of one direction are one zlib
 * stream, so each must be given, in order, whether or not its content matters.
 */
export class HeaderInflater implements Disposable {
  readonly #inflate: Inflate;
  #parts: Buffer[] = [];
  #size = 0;
  #failure: Error | undefined;
  #done: ((error?: Error) => void) | undefined;

  constructor() {
    this.#inflate = createInflate({
      dictionary: HEADER_DICTIONARY,
      flush: constants.Z_SYNC_FLUSH,
      chunkSize: 4096,
    });
    this.#inflate.on('data', (part: Buffer) => this.#collect(part));
    this.#inflate.on('error', () => this.#fail(malformed('a header block cannot be inflated')));
    this.#inflate.on('end', () => this.#fail(malformed('the header compression was ended')));
  }

  async read(block: Buffer): Promise<Headers> {
    await new Promise<void>((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#done = (error) => (error === undefined ? resolve() : reject(error));
      this.#inflate.write(block, () => this.#done?.());
    });
    const plain = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#size = 0;
    return parseHeaderBlock(plain);
  }

  [Symbol.dispose](): void {
    this.#fail(malformed('the connection is closed'));
  }

  #collect(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > PLAIN_LIMIT) this.#fail(malformed('a header block is too long'));
    else this.#parts.push(part);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#inflate.destroy();
    this.#done?.(this.#failure);
  }
}

/** A block without headers, literally coded: it refers to nothing that came before. */
const EMPTY_BLOCK = Buffer.from('6260606000000000ffff', 'hex');
/** A zlib header for level 9 and a preset dictionary, and the dictionary's Adler-32. */
const STREAM_START = Buffer.from('78f9e3c6a7c2', 'hex');

/**
 * Writes the header blocks of a side that has no headers to send: replies to SYN_STREAM
 * carry none. This is what zlib would produce, without 260 KiB of its state for each
 * connection.
 */
export class EmptyHeaderDeflater {
  #started = false;

  next(): Buffer {
    if (this.#started) return EMPTY_BLOCK;
    this.#started = true;
    return Buffer.concat([STREAM_START, EMPTY_BLOCK]);
  }
}
