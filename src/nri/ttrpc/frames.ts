import { KeelsonError } from '../../base/index.ts';

/** Where a frame's header says how long its payload is. All numbers are big endian. */
export interface FrameFormat {
  /** Bytes. */
  headerLength: number;
  /** Offset of the payload's length in the header, an unsigned 32-bit number. */
  lengthAt: number;
  /** Most bytes of a payload. */
  limit: number;
}

/** A payload of ttrpc has at most so many bytes. */
export const MESSAGE_LIMIT = 4 << 20;

/** ttrpc: length, stream id, message type, flags. */
export const MESSAGE_FORMAT: FrameFormat = { headerLength: 10, lengthAt: 0, limit: MESSAGE_LIMIT };

/** NRI's multiplexer: connection id, length. A payload holds at most one message of ttrpc. */
export const TRUNK_FORMAT: FrameFormat = {
  headerLength: 8,
  lengthAt: 4,
  limit: MESSAGE_LIMIT + MESSAGE_FORMAT.headerLength,
};

/** Cuts a stream of bytes into frames. Holds at most one frame that is not complete. */
export class FrameReader {
  readonly #format: FrameFormat;
  readonly #onFrame: (header: Buffer, payload: Buffer) => void;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(format: FrameFormat, onFrame: (header: Buffer, payload: Buffer) => void) {
    this.#format = format;
    this.#onFrame = onFrame;
  }

  /** Takes the next bytes. Fails with RESOURCE_EXHAUSTED as soon as a frame claims too much. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    let end = this.#nextEnd();
    while (end !== undefined && this.#length >= end) {
      const frame = this.#take(end);
      const { headerLength } = this.#format;
      this.#onFrame(frame.subarray(0, headerLength), frame.subarray(headerLength));
      end = this.#nextEnd();
    }
  }

  /** Bytes until the end of the first frame; undefined while its header is not there. */
  #nextEnd(): number | undefined {
    const { headerLength, lengthAt, limit } = this.#format;
    if (this.#length < headerLength) return undefined;
    if ((this.#chunks[0]?.length ?? 0) < headerLength) this.#chunks = [Buffer.concat(this.#chunks)];
    const length = this.#chunks[0]?.readUInt32BE(lengthAt) ?? 0;
    if (length <= limit) return headerLength + length;
    throw new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot read a frame', {
      reason: `it claims ${length} bytes, more than ${limit}`,
    });
  }

  #take(length: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
    const rest = all?.subarray(length) ?? Buffer.alloc(0);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    return all?.subarray(0, length) ?? rest;
  }
}
