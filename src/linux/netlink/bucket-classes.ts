import { type Cidr, isV4, maskOf, networkOf } from '../../base/index.ts';
import { AttributeMap, bytes, encodeAttributes, nested, text, u32, u64 } from './attributes.ts';
import { NLM_F, type Request } from './messages.ts';
import type { TokenBucket } from './traffic-control.ts';
import { burstTicks, trafficHeader } from './traffic-messages.ts';

const RTM_NEWQDISC = 36;
const RTM_NEWTCLASS = 40;
const RTM_GETTCLASS = 42;
const RTM_NEWTFILTER = 44;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_HTB_PARMS = 1;
const TCA_HTB_INIT = 2;
const TCA_HTB_RATE64 = 6;
const TCA_HTB_CEIL64 = 7;
const TCA_U32_CLASSID = 1;
const TCA_U32_SEL = 5;
const TC_U32_TERMINAL = 1;
const TC_H_ROOT = 0xffffffff;
const QDISC = 0x10000;
const HTB_VERSION = 3;
/** Bytes that a class sends before it is the turn of another: a share of its rate, within bounds. */
const QUANTUM = { least: 1000, most: 200_000, perRate: 10n };
/** Where the destination stands in a packet, and what the kernel calls its family. */
const DESTINATION = {
  4: { offset: 16, protocol: 0x0800, priority: 16 },
  6: { offset: 24, protocol: 0x86dd, priority: 15 },
} as const;

/** What a class may send; what is too much waits in a queue. */
export type ClassBucket = Pick<TokenBucket, 'rate' | 'burst'>;

export interface TrafficClass {
  readonly link: number;
  readonly kind: string;
  /** Its number below the qdisc `1:`. */
  readonly minor: number;
  readonly rate: bigint | undefined;
}

/** Shapes what leaves a link by classes (tc-htb(8)): what no filter takes is of the class `1:minor`. */
export function addClasses(link: number, minor: number): Request {
  const init = Buffer.alloc(20);
  init.writeUInt32LE(HTB_VERSION, 0);
  init.writeUInt32LE(Number(QUANTUM.perRate), 4);
  init.writeUInt32LE(minor, 8);
  return {
    action: `add classes to link ${link}`,
    type: RTM_NEWQDISC,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      trafficHeader({ link, handle: QDISC, parent: TC_H_ROOT }),
      encodeAttributes([text(TCA_KIND, 'htb'), nested(TCA_OPTIONS, [bytes(TCA_HTB_INIT, init)])]),
    ]),
  };
}

/** The class `1:minor` of `addClasses`. */
export function addClass(link: number, minor: number, bucket: ClassBucket): Request {
  return {
    action: `add class ${minor} to link ${link}`,
    type: RTM_NEWTCLASS,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      trafficHeader({ link, handle: QDISC + minor, parent: QDISC }),
      encodeAttributes([
        text(TCA_KIND, 'htb'),
        nested(TCA_OPTIONS, [
          bytes(TCA_HTB_PARMS, classParameters(bucket)),
          u64(TCA_HTB_RATE64, bucket.rate),
          u64(TCA_HTB_CEIL64, bucket.rate),
        ]),
      ]),
    ]),
  };
}

/** Puts what goes to a network into the class `1:minor`. */
export function classifyDestination(link: number, network: Cidr, minor: number): Request {
  const { offset, protocol, priority } = DESTINATION[isV4(network.ip) ? 4 : 6];
  return {
    action: `add filter to link ${link}`,
    type: RTM_NEWTFILTER,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      trafficHeader({ link, parent: QDISC, info: (priority << 16) | networkOrder(protocol) }),
      encodeAttributes([
        text(TCA_KIND, 'u32'),
        nested(TCA_OPTIONS, [
          bytes(TCA_U32_SEL, selector(network, offset)),
          u32(TCA_U32_CLASSID, QDISC + minor),
        ]),
      ]),
    ]),
  };
}

/** Asks for the classes of a link. */
export function listClasses(link: number): Request {
  return {
    action: `list classes of link ${link}`,
    type: RTM_GETTCLASS,
    flags: 0,
    body: trafficHeader({ link }),
  };
}

export function decodeClass(body: Buffer): TrafficClass {
  const attributes = new AttributeMap(body.subarray(20));
  const options = attributes.nested(TCA_OPTIONS);
  const rate64 = options?.bytes(TCA_HTB_RATE64)?.readBigUInt64LE();
  const parameters = options?.bytes(TCA_HTB_PARMS);
  return {
    link: body.readInt32LE(4),
    kind: attributes.text(TCA_KIND) ?? '',
    minor: body.readUInt16LE(8),
    rate: rate64 ?? (parameters === undefined ? undefined : BigInt(parameters.readUInt32LE(8))),
  };
}

/** struct tc_htb_opt: rate and ceil of 12 bytes each, then buffer and cbuffer (ticks), quantum, level, prio. */
function classParameters(bucket: ClassBucket): Buffer {
  const buffer = Buffer.alloc(44);
  const rate = bucket.rate > 0xffffffffn ? 0xffffffff : Number(bucket.rate);
  for (const at of [8, 20]) buffer.writeUInt32LE(rate, at);
  for (const at of [24, 28]) buffer.writeUInt32LE(burstTicks(bucket), at);
  const share = Number(bucket.rate / QUANTUM.perRate);
  buffer.writeUInt32LE(Math.min(QUANTUM.most, Math.max(QUANTUM.least, share)), 32);
  return buffer;
}

/** struct tc_u32_sel, with a key for each four bytes of the address that the network says something of. */
function selector(network: Cidr, offset: number): Buffer {
  const { ip } = networkOf(network);
  const mask = maskOf(network.prefix, ip.length);
  const count = Math.max(1, Math.ceil(network.prefix / 32));
  const buffer = Buffer.alloc(16 + 16 * count);
  buffer.writeUInt8(TC_U32_TERMINAL, 0);
  buffer.writeUInt8(count, 2);
  for (let key = 0; key < count; key++) {
    const at = 16 + 16 * key;
    mask.copy(buffer, at, 4 * key, 4 * key + 4);
    Buffer.from(ip).copy(buffer, at + 4, 4 * key, 4 * key + 4);
    buffer.writeInt32LE(offset + 4 * key, at + 8);
  }
  return buffer;
}

function networkOrder(protocol: number): number {
  return ((protocol & 0xff) << 8) | (protocol >> 8);
}
