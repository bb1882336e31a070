import { Flag, FRAME_HEADER, type Frame, malformed, parseControlFrame } from './frames.ts';

/** Control frames carry a few short headers; more is not meant well. Bytes. */
const CONTROL_LIMIT = 32 * 1024;
const CONTROL_BIT = 0x8000;
const VERSION_3 = 0x8003;

type State =
  | { kind: 'header' }
  | { kind: 'control'; type: number; flags: number; length: number }
  | { kind: 'data'; streamId: number; fin: boolean; left: number };

/**
 * Cuts the bytes of a connection into frames, however they arrive. Holds at most one
 * control frame; data frames, up to 16 MiB each, are passed on as they come.
 */
export class FrameParser {
  #state: State = { kind: 'header' };
  #parts: Buffer[] = [];
  #size = 0;

  /** The frames that `chunk` completes. Throws on what is no SPDY/3 frame. */
  *push(chunk: Buffer): Generator<Frame, void> {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#state.kind === 'data') {
        const state = this.#state;
        const piece = rest.subarray(0, state.left);
        rest = rest.subarray(piece.length);
        yield this.#dataPiece(state, piece);
        continue;
      }
      const wanted = this.#state.kind === 'header' ? FRAME_HEADER : this.#state.length;
      const part = rest.subarray(0, wanted - this.#size);
      rest = rest.subarray(part.length);
      this.#parts.push(part);
      this.#size += part.length;
      if (this.#size === wanted) yield* this.#complete();
    }
  }

  #dataPiece(state: State & { kind: 'data' }, piece: Buffer): Frame {
    const left = state.left - piece.length;
    this.#state = left === 0 ? { kind: 'header' } : { ...state, left };
    return { type: 'data', streamId: state.streamId, piece, fin: state.fin && left === 0 };
  }

  *#complete(): Generator<Frame, void> {
    const [first, ...more] = this.#parts;
    const bytes = first !== undefined && more.length === 0 ? first : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#size = 0;
    if (this.#state.kind === 'control') {
      const { type, flags } = this.#state;
      this.#state = { kind: 'header' };
      yield* present(parseControlFrame(type, flags, bytes));
      return;
    }
    this.#state = parseHeader(bytes);
    if (this.#state.kind === 'data' && this.#state.left === 0) {
      yield this.#dataPiece(this.#state, Buffer.alloc(0));
    } else if (this.#state.kind === 'control' && this.#state.length === 0) {
      const { type, flags } = this.#state;
      this.#state = { kind: 'header' };
      yield* present(parseControlFrame(type, flags, Buffer.alloc(0)));
    }
  }
}

function* present(frame: Frame | undefined): Generator<Frame, void> {
  if (frame !== undefined) yield frame;
}

function parseHeader(bytes: Buffer): State {
  const flags = bytes.readUInt8(4);
  const length = bytes.readUIntBE(5, 3);
  const start = bytes.readUInt16BE(0);
  if ((start & CONTROL_BIT) === 0) {
    const streamId = bytes.readUInt32BE(0);
    if (streamId === 0) throw malformed('a data frame names stream 0');
    return { kind: 'data', streamId, fin: (flags & Flag.FIN) !== 0, left: length };
  }
  if (start !== VERSION_3) throw malformed(`a control frame is of version ${start & 0x7fff}`);
  if (length > CONTROL_LIMIT) throw malformed(`a control frame is ${length} bytes long`);
  return { kind: 'control', type: bytes.readUInt16BE(2), flags, length };
}
