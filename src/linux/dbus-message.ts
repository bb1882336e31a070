/**
 * Messages of the D-Bus specification, as far as they are needed to call methods with
 * strings: https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol
 */
export interface MethodCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly args: readonly string[];
}

export interface BusReply {
  /** The serial number of the call. */
  readonly replyTo: number;
  /** Set if the call failed, for example `org.freedesktop.DBus.Error.ServiceUnknown`. */
  readonly errorName: string | undefined;
  /** The strings and truth values at the beginning of the answer; of an error, its message. */
  readonly values: (string | boolean)[];
}

const LITTLE_ENDIAN = 'l'.charCodeAt(0);
const TYPE = { CALL: 1, RETURN: 2, ERROR: 3 } as const;
const VERSION = 1;
/** Up to the length of the array of header fields. */
const FIXED = 16;
const FIELD = {
  PATH: 1,
  INTERFACE: 2,
  MEMBER: 3,
  ERROR_NAME: 4,
  REPLY_SERIAL: 5,
  DESTINATION: 6,
  SIGNATURE: 8,
} as const;

export function encodeCall(call: MethodCall, serial: number): Buffer {
  const body = call.args.reduce<Buffer>(
    (made, text) => append(made, 4, string(text)),
    Buffer.alloc(0),
  );
  const fields: readonly (readonly [number, 'o' | 's' | 'g', string])[] = [
    [FIELD.PATH, 'o', call.path],
    [FIELD.INTERFACE, 's', call.interface],
    [FIELD.MEMBER, 's', call.member],
    [FIELD.DESTINATION, 's', call.destination],
    ...(call.args.length === 0
      ? []
      : [[FIELD.SIGNATURE, 'g', 's'.repeat(call.args.length)] as const]),
  ];
  const array = fields.reduce<Buffer>(
    (made, [code, type, value]) => append(made, 8, headerField(code, type, value)),
    Buffer.alloc(0),
  );
  const fixed = Buffer.alloc(FIXED);
  fixed.set([LITTLE_ENDIAN, TYPE.CALL, 0, VERSION]);
  fixed.writeUInt32LE(body.length, 4);
  fixed.writeUInt32LE(serial, 8);
  fixed.writeUInt32LE(array.length, 12);
  return append(Buffer.concat([fixed, array]), 8, body);
}

/** A code, then a variant: its signature and its value. Begins at a multiple of 8. */
function headerField(code: number, type: string, value: string): Buffer {
  const head = Buffer.from([code, 1, type.charCodeAt(0), 0]);
  return Buffer.concat([head, type === 'g' ? signature(value) : string(value)]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(`${text}\0`);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length - 1);
  return Buffer.concat([length, bytes]);
}

function signature(text: string): Buffer {
  return Buffer.concat([Buffer.of(text.length), Buffer.from(`${text}\0`)]);
}

function append(made: Buffer, alignment: number, next: Buffer): Buffer {
  return Buffer.concat([made, Buffer.alloc(align(made.length, alignment) - made.length), next]);
}

function align(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

/** Bytes of the message that begins here; undefined as long as too little of it is there. */
export function sizeOf(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED) return undefined;
  const reader = new Reader(bytes);
  return align(FIXED + reader.uint32(12), 8) + reader.uint32(4);
}

/** What a message answers to a call; undefined for signals and calls. */
export function decodeReply(message: Buffer): BusReply | undefined {
  const type = message[1];
  if (type !== TYPE.RETURN && type !== TYPE.ERROR) return undefined;
  const reader = new Reader(message);
  const end = FIXED + reader.uint32(12);
  const fields = new Map<number, string | number>();
  for (let at = FIXED; at < end; ) {
    const start = align(at, 8);
    const [value, next] = reader.value(String.fromCharCode(message[start + 2] ?? 0), start + 4);
    if (typeof value !== 'boolean') fields.set(message[start] ?? 0, value);
    at = next;
  }
  const values: (string | boolean)[] = [];
  let at = align(end, 8);
  for (const one of String(fields.get(FIELD.SIGNATURE) ?? '')) {
    if (one !== 's' && one !== 'b') break;
    const [value, next] = reader.value(one, at);
    if (typeof value !== 'number') values.push(value);
    at = next;
  }
  return {
    replyTo: Number(fields.get(FIELD.REPLY_SERIAL) ?? 0),
    errorName: type === TYPE.ERROR ? String(fields.get(FIELD.ERROR_NAME) ?? '') : undefined,
    values,
  };
}

class Reader {
  readonly #bytes: Buffer;
  readonly #little: boolean;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#little = bytes[0] === LITTLE_ENDIAN;
  }

  uint32(at: number): number {
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  /** The value at an offset or the next that it may be at, and where it ends. */
  value(type: string, offset: number): [value: string | number | boolean, end: number] {
    if (type === 'g') {
      const end = offset + 1 + (this.#bytes[offset] ?? 0);
      return [this.#bytes.toString('utf8', offset + 1, end), end + 1];
    }
    const at = align(offset, 4);
    const number = this.uint32(at);
    if (type === 'u') return [number, at + 4];
    if (type === 'b') return [number === 1, at + 4];
    const end = at + 4 + number;
    return [this.#bytes.toString('utf8', at + 4, end), end + 1];
  }
}
