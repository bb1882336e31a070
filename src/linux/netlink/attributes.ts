/**
 * Netlink attributes (netlink(7), linux/netlink.h): type-length-value records, padded to
 * four bytes. Numbers are in host byte order, which is little endian on all platforms
 * Keelson runs on; nfnetlink and addresses use network byte order.
 */
export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

const HEADER = 4;
const NESTED = 0x8000;
const NET_BYTEORDER = 0x4000;
const TYPE_MASK = ~(NESTED | NET_BYTEORDER) & 0xffff;

/** An attribute with the bytes as they are. */
export function bytes(type: number, value: Uint8Array): Attribute {
  return { type, value };
}

/** An attribute that says something by being there. */
export function flag(type: number): Attribute {
  return { type, value: new Uint8Array(0) };
}

export function u8(type: number, value: number): Attribute {
  return { type, value: Uint8Array.of(value) };
}

export function u16(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16LE(value);
  return { type, value: buffer };
}

/** A 16-bit number in network byte order. */
export function be16(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16BE(value);
  return { type, value: buffer };
}

export function u32(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value >>> 0);
  return { type, value: buffer };
}

/** A 32-bit number in network byte order. */
export function be32(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value >>> 0);
  return { type, value: buffer };
}

export function u64(type: number, value: bigint): Attribute {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return { type, value: buffer };
}

/** A 64-bit number in network byte order. */
export function be64(type: number, value: bigint): Attribute {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(value);
  return { type, value: buffer };
}

/** A string that ends with NUL. */
export function text(type: number, value: string): Attribute {
  return { type, value: Buffer.from(`${value}\0`) };
}

/** An attribute that holds attributes, marked as such. */
export function nested(type: number, attributes: readonly Attribute[]): Attribute {
  return { type: type | NESTED, value: encodeAttributes(attributes) };
}

/** Like `nested`, without the mark: rtnetlink's older families refuse or never set it. */
export function unmarkedNested(type: number, attributes: readonly Attribute[]): Attribute {
  return { type, value: encodeAttributes(attributes) };
}

export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  const size = attributes.reduce((sum, { value }) => sum + HEADER + align(value.length), 0);
  const buffer = Buffer.alloc(size);
  let offset = 0;
  for (const { type, value } of attributes) {
    buffer.writeUInt16LE(HEADER + value.length, offset);
    buffer.writeUInt16LE(type, offset + 2);
    buffer.set(value, offset + HEADER);
    offset += HEADER + align(value.length);
  }
  return buffer;
}

/** The attributes in `buffer`, in order. A cut or senseless one ends the list. */
export function listAttributes(buffer: Buffer): { type: number; value: Buffer }[] {
  const attributes: { type: number; value: Buffer }[] = [];
  let offset = 0;
  while (offset + HEADER <= buffer.length) {
    const length = buffer.readUInt16LE(offset);
    if (length < HEADER || offset + length > buffer.length) break;
    attributes.push({
      type: buffer.readUInt16LE(offset + 2) & TYPE_MASK,
      value: buffer.subarray(offset + HEADER, offset + length),
    });
    offset += align(length);
  }
  return attributes;
}

/** The attributes in `buffer` by type; of several of one type the last. */
export class AttributeMap {
  readonly #values: Map<number, Buffer>;

  constructor(buffer: Buffer) {
    this.#values = new Map(listAttributes(buffer).map(({ type, value }) => [type, value]));
  }

  has(type: number): boolean {
    return this.#values.has(type);
  }

  bytes(type: number): Buffer | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.readUInt8();
  }

  u16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16LE();
  }

  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32LE();
  }

  be16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16BE();
  }

  be32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32BE();
  }

  be64(type: number): bigint | undefined {
    return this.#sized(type, 8)?.readBigUInt64BE();
  }

  /** A string, with or without its NUL. */
  text(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return value.toString('utf8', 0, end === -1 ? value.length : end);
  }

  nested(type: number): AttributeMap | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new AttributeMap(value);
  }

  #sized(type: number, size: number): Buffer | undefined {
    const value = this.#values.get(type);
    return value !== undefined && value.length >= size ? value : undefined;
  }
}

/** Netlink pads to four bytes. */
export function align(size: number): number {
  return (size + 3) & ~3;
}
