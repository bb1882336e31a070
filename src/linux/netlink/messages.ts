import { errnoName } from '../ffi.ts';
import { AttributeMap, align } from './attributes.ts';

/** Flags of a message, from linux/netlink.h. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  ROOT: 0x100,
  MATCH: 0x200,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
} as const;

const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const HEADER = 16;
const NLMSG_NOOP = 1;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;

/** What is asked of the kernel. */
export interface Request {
  /** What fails when this fails, such as `create link "eth0"`. */
  readonly action: string;
  readonly type: number;
  /** A union of `NLM_F` values; REQUEST and ACK are understood. */
  readonly flags: number;
  readonly body: Buffer;
  /** Symbolic errnos that count as success, such as EEXIST. */
  readonly tolerate?: readonly string[];
}

/** What the kernel says. */
export type Reply =
  | { readonly kind: 'data'; sequence: number; type: number; flags: number; body: Buffer }
  | { readonly kind: 'ack'; sequence: number }
  | { readonly kind: 'done'; sequence: number; flags: number; error: Failure | undefined }
  | { readonly kind: 'error'; sequence: number; error: Failure };

export interface Failure {
  /** The errno, positive. */
  readonly errno: number;
  /** The kernel's own explanation (extended acknowledgement), if it gave one. */
  readonly explanation: string | undefined;
}

/** A request that the kernel refused. `code` is the symbolic errno. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
  readonly code: string;

  constructor(action: string, failure: Failure) {
    const code = errnoName(failure.errno);
    const explanation = failure.explanation === undefined ? '' : ` (${failure.explanation})`;
    super(`Cannot ${action}: ${code}${explanation}`);
    this.code = code;
  }
}

/** One message with its header (struct nlmsghdr), padded. */
export function encodeMessage(request: Request, sequence: number, extraFlags: number): Buffer {
  const length = HEADER + request.body.length;
  const buffer = Buffer.alloc(align(length));
  buffer.writeUInt32LE(length, 0);
  buffer.writeUInt16LE(request.type, 4);
  buffer.writeUInt16LE(request.flags | NLM_F.REQUEST | extraFlags, 6);
  buffer.writeUInt32LE(sequence >>> 0, 8);
  buffer.set(request.body, HEADER);
  return buffer;
}

/** The messages in one datagram. */
export function decodeMessages(datagram: Buffer): Reply[] {
  const replies: Reply[] = [];
  let offset = 0;
  while (offset + HEADER <= datagram.length) {
    const length = datagram.readUInt32LE(offset);
    if (length < HEADER || offset + length > datagram.length) break;
    const reply = decodeMessage(datagram.subarray(offset, offset + length));
    if (reply !== undefined) replies.push(reply);
    offset += align(length);
  }
  return replies;
}

function decodeMessage(message: Buffer): Reply | undefined {
  const type = message.readUInt16LE(4);
  const flags = message.readUInt16LE(6);
  const sequence = message.readUInt32LE(8);
  const body = message.subarray(HEADER);
  switch (type) {
    case NLMSG_NOOP:
      return undefined;
    case NLMSG_ERROR: {
      const error = decodeFailure(body, flags);
      return error === undefined ? { kind: 'ack', sequence } : { kind: 'error', sequence, error };
    }
    case NLMSG_DONE: {
      const errno = body.length >= 4 ? -body.readInt32LE() : 0;
      const error = errno > 0 ? { errno, explanation: explanationOf(body, 4, flags) } : undefined;
      return { kind: 'done', sequence, flags, error };
    }
    default:
      return { kind: 'data', sequence, type, flags, body };
  }
}

/** struct nlmsgerr: the errno, the header of the request, the request unless capped, attributes. */
function decodeFailure(body: Buffer, flags: number): Failure | undefined {
  const errno = -body.readInt32LE();
  if (errno === 0) return undefined;
  const echoed = flags & NLM_F_CAPPED ? HEADER : align(body.readUInt32LE(4));
  return { errno, explanation: explanationOf(body, 4 + echoed, flags) };
}

function explanationOf(body: Buffer, offset: number, flags: number): string | undefined {
  if ((flags & NLM_F_ACK_TLVS) === 0) return undefined;
  return new AttributeMap(body.subarray(offset)).text(NLMSGERR_ATTR_MSG);
}
