import type { Ip } from '../../../base/index.ts';

/**
 * DHCP messages (RFC 2131, options RFC 2132) in Ethernet frames, as they go over the wire
 * while the client has no address yet: with IP and UDP headers of their own.
 */
export const DHCP = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5, NAK: 6, RELEASE: 7 } as const;

/** Numbers of options. */
export const OPTION = {
  SUBNET_MASK: 1,
  ROUTER: 3,
  STATIC_ROUTES: 33,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  PARAMETERS: 55,
  RENEWAL_TIME: 58,
  REBINDING_TIME: 59,
  CLIENT_ID: 61,
  CLASSLESS_ROUTES: 121,
} as const;

const ETHERNET = 14;
const IP_HEADER = 20;
const UDP_HEADER = 8;
const BOOTP = 236;
const SMALLEST = 300;
const MAGIC = 0x63825363;
const CLIENT_PORT = 68;
const SERVER_PORT = 67;
const IPPROTO_UDP = 17;
const BROADCAST_FLAG = 0x8000;
const PAD = 0;
const END = 255;

export interface DhcpMessage {
  readonly type: number;
  readonly transaction: number;
  /** The client's hardware address. */
  readonly mac: Uint8Array;
  /** The server is to answer to everybody's hardware address, not to the client's. */
  readonly broadcast?: boolean;
  /** The address that the client has (`ciaddr`). */
  readonly clientIp?: Ip;
  /** The address that the server gives (`yiaddr`). */
  readonly yourIp?: Ip;
  readonly options: ReadonlyMap<number, Buffer>;
}

/** A frame that brings a message from the client to all servers. */
export function encodeRequest(message: DhcpMessage): Buffer {
  const payload = encodeBootp(message);
  const source = message.clientIp ?? Buffer.alloc(4);
  const ethernet = Buffer.concat([Buffer.alloc(6, 0xff), message.mac, Buffer.of(0x08, 0x00)]);
  const udp = Buffer.alloc(UDP_HEADER);
  udp.writeUInt16BE(CLIENT_PORT, 0);
  udp.writeUInt16BE(SERVER_PORT, 2);
  udp.writeUInt16BE(UDP_HEADER + payload.length, 4);
  const ip = Buffer.alloc(IP_HEADER);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(IP_HEADER + UDP_HEADER + payload.length, 2);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(IPPROTO_UDP, 9);
  ip.set(source, 12);
  ip.fill(0xff, 16, 20);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([ethernet, ip, udp, payload]);
}

function encodeBootp(message: DhcpMessage): Buffer {
  const head = Buffer.alloc(BOOTP + 4);
  head.writeUInt8(1, 0); // BOOTREQUEST
  head.writeUInt8(1, 1); // Ethernet
  head.writeUInt8(6, 2);
  head.writeUInt32BE(message.transaction, 4);
  if (message.broadcast) head.writeUInt16BE(BROADCAST_FLAG, 10);
  if (message.clientIp !== undefined) head.set(message.clientIp, 12);
  head.set(message.mac, 28);
  head.writeUInt32BE(MAGIC, BOOTP);
  const options = [
    Buffer.of(OPTION.MESSAGE_TYPE, 1, message.type),
    ...[...message.options].map(([code, value]) =>
      Buffer.concat([Buffer.of(code, value.length), value]),
    ),
    Buffer.of(END),
  ];
  const whole = Buffer.concat([head, ...options]);
  return Buffer.concat([whole, Buffer.alloc(Math.max(0, SMALLEST - whole.length))]);
}

/** The answer of a server in a frame; undefined for anything else. */
export function decodeReply(frame: Buffer): DhcpMessage | undefined {
  const ip = frame.subarray(ETHERNET);
  if (ip.length < IP_HEADER || ip.readUInt8(9) !== IPPROTO_UDP) return undefined;
  const udp = ip.subarray((ip.readUInt8(0) & 15) * 4);
  if (udp.length < UDP_HEADER || udp.readUInt16BE(2) !== CLIENT_PORT) return undefined;
  const bootp = udp.subarray(UDP_HEADER);
  if (bootp.length < BOOTP + 4 || bootp.readUInt8(0) !== 2) return undefined;
  if (bootp.readUInt32BE(BOOTP) !== MAGIC) return undefined;
  const options = decodeOptions(bootp.subarray(BOOTP + 4));
  return {
    type: options.get(OPTION.MESSAGE_TYPE)?.[0] ?? 0,
    transaction: bootp.readUInt32BE(4),
    mac: bootp.subarray(28, 34),
    yourIp: bootp.subarray(16, 20),
    options,
  };
}

/** An option that comes in several parts is put together (RFC 3396). */
function decodeOptions(bytes: Buffer): Map<number, Buffer> {
  const options = new Map<number, Buffer>();
  let at = 0;
  while (at < bytes.length) {
    const code = bytes[at] ?? END;
    if (code === END) break;
    const length = code === PAD ? 0 : bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) break;
    if (code === PAD) {
      at++;
      continue;
    }
    const value = bytes.subarray(at + 2, at + 2 + length);
    options.set(code, Buffer.concat([options.get(code) ?? Buffer.alloc(0), value]));
    at += 2 + length;
  }
  return options;
}

/** The checksum of an IP header (RFC 1071). */
function checksum(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
