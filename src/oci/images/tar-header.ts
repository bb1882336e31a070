import { KeelsonError } from '../../base/errors.ts';

export const BLOCK = 512;

/** Which member of the ustar family a header is of; each uses the last 167 bytes its own way. */
export type TarFormat = 'v7' | 'ustar' | 'gnu';

/** The fields of one header block. Names are byte strings: one character for each byte. */
export interface TarHeader {
  format: TarFormat;
  name: string;
  linkName: string;
  /** The type flag, one character; NUL in archives older than ustar. */
  flag: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Seconds since 1970. */
  mtime: number;
  major: number;
  minor: number;
}

/** Reads the header block at `at`. Fails with INVALID_ARGUMENT for what is none. */
export function readHeader(block: Buffer, at: number): TarHeader {
  verifyChecksum(block, at);
  const format = formatOf(block, at);
  const flag = String.fromCharCode(block[at + 156] ?? 0);
  const nodes = format !== 'v7';
  const prefix = format === 'ustar' ? text(block, at + 345, 155) : '';
  const name = text(block, at, 100);
  return {
    format,
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: text(block, at + 157, 100),
    flag,
    mode: numeric(block, at + 100, 8) & 0o7777,
    uid: numeric(block, at + 108, 8),
    gid: numeric(block, at + 116, 8),
    size: positive(numeric(block, at + 124, 12), 'size'),
    mtime: numeric(block, at + 136, 12),
    major: nodes ? numeric(block, at + 329, 8) : 0,
    minor: nodes ? numeric(block, at + 337, 8) : 0,
  };
}

export function isZeroBlock(block: Buffer, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** The bytes of a field up to its first NUL, as a byte string. */
export function text(block: Buffer, at: number, length: number): string {
  const field = block.toString('latin1', at, at + length);
  const nul = field.indexOf('\0');
  return nul < 0 ? field : field.slice(0, nul);
}

/** A number in octal digits, or in base 256 when the first bit is set (a GNU extension). */
export function numeric(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0;
  if (first & 0x80) return base256(block, at, length);
  const digits = text(block, at, length).trim();
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw malformed(`${JSON.stringify(digits)} is not an octal number`);
  return Number.parseInt(digits, 8);
}

export function malformed(reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', 'Cannot read tar archive', { reason });
}

export function positive(value: number, what: string): number {
  if (value < 0) throw malformed(`a ${what} is negative`);
  return value;
}

function base256(block: Buffer, at: number, length: number): number {
  // Two's complement over all bits but the first, which only marks the encoding.
  const negative = ((block[at] ?? 0) & 0x40) !== 0;
  let value = negative ? -1n : 0n;
  for (let i = 0; i < length; i++) {
    const byte = block[at + i] ?? 0;
    value = (value << 8n) | BigInt(i === 0 ? (negative ? byte : byte & 0x7f) : byte);
  }
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed('a number is too large');
  return number;
}

function formatOf(block: Buffer, at: number): TarFormat {
  const magic = block.toString('latin1', at + 257, at + 265);
  if (magic === 'ustar  \0') return 'gnu';
  return magic.startsWith('ustar\0') ? 'ustar' : 'v7';
}

function verifyChecksum(block: Buffer, at: number): void {
  const stored = numeric(block, at + 148, 8);
  let unsigned = 8 * 0x20;
  // Old writers summed signed characters.
  let signed = unsigned;
  for (let i = 0; i < BLOCK; i++) {
    if (i === 148) i = 156;
    const byte = block[at + i] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  if (stored !== unsigned && stored !== signed) throw malformed('a header has a wrong checksum');
}
