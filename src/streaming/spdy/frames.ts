import { KeelsonError } from '../../base/index.ts';

/*
 * SPDY/3.1 framing. A control frame is u16 0x8003, u16 type, u8 flags, u24 length, payload;
 * a data frame is u32 stream id, u8 flags, u24 length, payload. All big-endian.
 */

export const FRAME_HEADER = 8;
const VERSION = 3;

export const FrameType = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
  WINDOW_UPDATE: 9,
} as const;

export const Flag = { FIN: 1, UNIDIRECTIONAL: 2 } as const;

/** Reasons of RST_STREAM. */
export const ResetStatus = {
  PROTOCOL_ERROR: 1,
  REFUSED_STREAM: 3,
  CANCEL: 5,
} as const;

/** Reasons of GOAWAY. */
export const GoawayStatus = { OK: 0, PROTOCOL_ERROR: 1 } as const;

/** A frame as received; a data frame comes in as many pieces as the network made of it. */
export type Frame =
  | { type: 'data'; streamId: number; piece: Buffer; fin: boolean }
  | { type: 'syn-stream'; streamId: number; flags: number; block: Buffer }
  | { type: 'header-block'; block: Buffer }
  | { type: 'rst-stream'; streamId: number; status: number }
  | { type: 'ping'; id: number }
  | { type: 'goaway' };

/** What a client sent breaks the framing, so that nothing after it can be understood. */
export function malformed(reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot understand the SPDY connection', { reason });
}

/**
 * Reads the payload of a control frame. Undefined for what has no meaning here: SETTINGS
 * and WINDOW_UPDATE (peers use no flow control) and types that do not exist, which the
 * protocol says to skip.
 */
export function parseControlFrame(type: number, flags: number, payload: Buffer): Frame | undefined {
  const expectLength = (length: number, least = false) => {
    if (least ? payload.length < length : payload.length !== length) {
      throw malformed(`a control frame of type ${type} is ${payload.length} bytes long`);
    }
  };
  switch (type) {
    case FrameType.SYN_STREAM:
      expectLength(10, true);
      return {
        type: 'syn-stream',
        streamId: streamIdAt(payload),
        flags,
        block: payload.subarray(10),
      };
    case FrameType.SYN_REPLY:
    case FrameType.HEADERS:
      expectLength(4, true);
      return { type: 'header-block', block: payload.subarray(4) };
    case FrameType.RST_STREAM:
      expectLength(8);
      return {
        type: 'rst-stream',
        streamId: streamIdAt(payload),
        status: payload.readUInt32BE(4),
      };
    case FrameType.PING:
      expectLength(4);
      return { type: 'ping', id: payload.readUInt32BE(0) };
    case FrameType.GOAWAY:
      expectLength(8);
      return { type: 'goaway' };
    default:
      return undefined;
  }
}

function streamIdAt(payload: Buffer): number {
  const id = payload.readUInt32BE(0) & 0x7fffffff;
  if (id === 0) throw malformed('a frame names stream 0');
  return id;
}

/** The header of a data frame whose payload follows. */
export function dataHeader(streamId: number, length: number, fin: boolean): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt32BE(length, 4);
  header.writeUInt8(fin ? Flag.FIN : 0, 4);
  return header;
}

function controlFrame(type: number, ...parts: (number | Buffer)[]): Buffer {
  const payload = Buffer.concat(parts.map((part) => (typeof part === 'number' ? u32(part) : part)));
  const header = Buffer.alloc(FRAME_HEADER);
  header.writeUInt16BE(0x8000 | VERSION, 0);
  header.writeUInt16BE(type, 2);
  header.writeUInt32BE(payload.length, 4);
  return Buffer.concat([header, payload]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function synReply(streamId: number, block: Buffer): Buffer {
  return controlFrame(FrameType.SYN_REPLY, streamId, block);
}

export function rstStream(streamId: number, status: number): Buffer {
  return controlFrame(FrameType.RST_STREAM, streamId, status);
}

export function ping(id: number): Buffer {
  return controlFrame(FrameType.PING, id);
}

export function goaway(lastStreamId: number, status: number): Buffer {
  return controlFrame(FrameType.GOAWAY, lastStreamId, status);
}

/** A frame that peers ignore: SETTINGS with none in it. */
export function emptySettings(): Buffer {
  return controlFrame(FrameType.SETTINGS, 0);
}
