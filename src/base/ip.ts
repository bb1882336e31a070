import { isIPv4, isIPv6 } from 'node:net';

/** An IP address: 4 or 16 bytes in network order. An IPv4-mapped IPv6 address is kept as IPv4. */
export type Ip = Buffer;

/** An address with the length of its network's prefix, such as `10.1.2.3/16`. */
export interface Cidr {
  readonly ip: Ip;
  readonly prefix: number;
}

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

/** The address that `text` writes, undefined if it writes none. Zones are refused. */
export function parseIp(text: string): Ip | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const bytes = parseIpv6(text);
  return bytes.subarray(0, 12).equals(MAPPED) ? bytes.subarray(12) : bytes;
}

function parseIpv6(text: string): Buffer {
  const [head = '', tail] = text.split('::');
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const zeros = new Array<number>(8 - left.length - right.length).fill(0);
  const bytes = Buffer.alloc(16);
  [...left, ...zeros, ...right].forEach((group, i) => void bytes.writeUInt16BE(group, i * 2));
  return bytes;
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

/** The address in its canonical form (RFC 5952). */
export function formatIp(ip: Uint8Array): string {
  if (ip.length === 4) return ip.join('.');
  const words = Array.from({ length: 8 }, (_, i) => (ip[i * 2] ?? 0) * 256 + (ip[i * 2 + 1] ?? 0));
  const [start, length] = longestZeroRun(words);
  const hex = (part: number[]) => part.map((word) => word.toString(16)).join(':');
  if (length < 2) return hex(words);
  return `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`;
}

function longestZeroRun(words: number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  for (let start = 0; start < words.length; start++) {
    let length = 0;
    while (words[start + length] === 0) length++;
    if (length > best[1]) best = [start, length];
  }
  return best;
}

/** The address and prefix that `text` writes, undefined if it writes none. */
export function parseCidr(text: string): Cidr | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const ip = parseIp(address);
  if (ip === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length ?? '')) return undefined;
  const mapped = ip.length === 4 && address.includes(':');
  const prefix = Number(length) - (mapped ? 96 : 0);
  return prefix >= 0 && prefix <= ip.length * 8 ? { ip, prefix } : undefined;
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr.ip)}/${cidr.prefix}`;
}

export function isV4(ip: Uint8Array): boolean {
  return ip.length === 4;
}

/** The network that an address with a prefix is in: all bits behind the prefix zero. */
export function networkOf(cidr: Cidr): Cidr {
  return { ip: masked(cidr, (byte, mask) => byte & mask), prefix: cidr.prefix };
}

/** The last address of a network: for IPv4 the broadcast address. */
export function lastIpOf(cidr: Cidr): Ip {
  return masked(cidr, (byte, mask) => byte | (~mask & 0xff));
}

/** The mask of a prefix in a family of `size` bytes. */
export function maskOf(prefix: number, size: number): Buffer {
  return masked({ ip: Buffer.alloc(size), prefix }, (_, mask) => mask);
}

function masked(cidr: Cidr, combine: (byte: number, mask: number) => number): Buffer {
  return Buffer.from(
    cidr.ip.map((byte, i) => {
      const bits = Math.min(8, Math.max(0, cidr.prefix - i * 8));
      return combine(byte, (0xff << (8 - bits)) & 0xff);
    }),
  );
}

/** Whether `ip` is in the network of `cidr`. */
export function containsIp(cidr: Cidr, ip: Ip): boolean {
  if (ip.length !== cidr.ip.length) return false;
  return networkOf({ ip, prefix: cidr.prefix }).ip.equals(networkOf(cidr).ip);
}

/** The address after `ip`; the last one is followed by zero. */
export function nextIp(ip: Ip): Ip {
  const next = Buffer.from(ip);
  for (let i = next.length - 1; i >= 0; i--) {
    const byte = ((next[i] ?? 0) + 1) & 0xff;
    next[i] = byte;
    if (byte !== 0) break;
  }
  return next;
}

/** Whether all bits are zero: `0.0.0.0` or `::`. */
export function isUnspecified(ip: Uint8Array): boolean {
  return ip.every((byte) => byte === 0);
}
