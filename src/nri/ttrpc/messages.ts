import { type ErrorCode, KeelsonError } from '../../base/index.ts';
import { Request, Response } from '../../gen/ttrpc/ttrpc.ts';
import { MESSAGE_FORMAT, MESSAGE_LIMIT } from './frames.ts';

/** The type byte of a message. */
export const REQUEST = 1;
export const RESPONSE = 2;

/** Flag of a request that opens a stream, to which more messages belong. */
const REMOTE_OPEN = 2;

/** Codes of gRPC by number. */
const CODES: readonly (ErrorCode | 'OK')[] = [
  ...(['OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED'] as const),
  ...(['NOT_FOUND', 'ALREADY_EXISTS', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED'] as const),
  ...(['FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'INTERNAL'] as const),
  ...(['UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED'] as const),
];

export interface MessageHeader {
  streamId: number;
  type: number;
  /** Whether more messages than one shall go either way. */
  streaming: boolean;
}

export function readHeader(header: Buffer): MessageHeader {
  return {
    streamId: header.readUInt32BE(4),
    type: header.readUInt8(8),
    streaming: (header.readUInt8(9) & REMOTE_OPEN) !== 0,
  };
}

/** A request as it goes over the wire. Fails with RESOURCE_EXHAUSTED if it is too large. */
export function requestMessage(
  streamId: number,
  call: { service: string; method: string; payload: Uint8Array; timeout: number },
): Buffer {
  const { timeout, ...rest } = call;
  const timeoutNano = BigInt(timeout) * 1_000_000n;
  const request = Request.fromPartial({ ...rest, payload: Buffer.from(call.payload), timeoutNano });
  return message(streamId, REQUEST, Request.encode(request).finish());
}

export function responseMessage(streamId: number, payload: Uint8Array): Buffer {
  const response = Response.fromPartial({ payload: Buffer.from(payload) });
  return message(streamId, RESPONSE, Response.encode(response).finish());
}

export function failureMessage(streamId: number, code: ErrorCode, text: string): Buffer {
  const status = { code: CODES.indexOf(code), message: text };
  return message(streamId, RESPONSE, Response.encode(Response.fromPartial({ status })).finish());
}

/** What a response carries. Throws the error that it tells of. */
export function payloadOf(action: string, bytes: Uint8Array): Uint8Array {
  const { status, payload } = Response.decode(bytes);
  if (status === undefined || status.code === 0) return payload;
  const code = CODES[status.code];
  const known = code === undefined || code === 'OK' ? 'UNKNOWN' : code;
  throw new KeelsonError(known, action, { reason: status.message || known });
}

function message(streamId: number, type: number, payload: Uint8Array): Buffer {
  if (payload.length > MESSAGE_LIMIT) {
    throw new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot send a message', {
      reason: `it has ${payload.length} bytes, more than ${MESSAGE_LIMIT}`,
    });
  }
  const header = Buffer.alloc(MESSAGE_FORMAT.headerLength);
  header.writeUInt32BE(payload.length, MESSAGE_FORMAT.lengthAt);
  header.writeUInt32BE(streamId, 4);
  header.writeUInt8(type, 8);
  return Buffer.concat([header, payload]);
}
