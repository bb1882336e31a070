import { AttributeMap, bytes, encodeAttributes, nested, text, u32, u64 } from './attributes.ts';
import { NLM_F, type Request } from './messages.ts';
import { burstTicks, NANOSECONDS_PER_TICK, trafficHeader } from './traffic-messages.ts';

const RTM_NEWQDISC = 36;
const RTM_GETQDISC = 38;
const RTM_NEWTFILTER = 44;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_TBF_PARMS = 1;
const TCA_TBF_RATE64 = 4;
const TCA_U32_CLASSID = 1;
const TCA_U32_SEL = 5;
const TCA_U32_ACT = 7;
const TCA_ACT_KIND = 1;
const TCA_ACT_OPTIONS = 2;
const TCA_MIRRED_PARMS = 2;
const TC_U32_TERMINAL = 1;
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;
const TC_H_ROOT = 0xffffffff;
const TC_H_INGRESS = 0xfffffff1;
const INGRESS_HANDLE = 0xffff0000;
const ETH_P_ALL_NETWORK_ORDER = 0x0300;

/** A token bucket (tc-tbf(8)). */
export interface TokenBucket {
  /** Bytes per second. */
  readonly rate: bigint;
  /** Bytes that may go at once. */
  readonly burst: number;
  /** Bytes that may wait. */
  readonly limit: number;
}

export interface Qdisc {
  readonly link: number;
  readonly kind: string;
  readonly handle: number;
  readonly parent: number;
  readonly tokenBucket: TokenBucket | undefined;
}

/** Shapes what leaves a link: a token bucket `1:` at the root. */
export function addTokenBucket(link: number, bucket: TokenBucket): Request {
  return {
    action: `add token bucket to link ${link}`,
    type: RTM_NEWQDISC,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      trafficHeader({ link, handle: 0x10000, parent: TC_H_ROOT }),
      encodeAttributes([
        text(TCA_KIND, 'tbf'),
        nested(TCA_OPTIONS, [
          bytes(TCA_TBF_PARMS, tokenBucketParameters(bucket)),
          ...(bucket.rate > 0xffffffffn ? [u64(TCA_TBF_RATE64, bucket.rate)] : []),
        ]),
      ]),
    ]),
  };
}

/** Makes room for filters of what enters a link: qdisc `ffff:`. */
export function addIngressQdisc(link: number): Request {
  return {
    action: `add ingress qdisc to link ${link}`,
    type: RTM_NEWQDISC,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      trafficHeader({ link, handle: INGRESS_HANDLE, parent: TC_H_INGRESS }),
      encodeAttributes([text(TCA_KIND, 'ingress')]),
    ]),
  };
}

/** Sends all that enters `from` out of `to` instead, by a u32 filter that matches everything. */
export function redirectIngress(from: number, to: number): Request {
  const priority = 1;
  return {
    action: `redirect what enters link ${from} to link ${to}`,
    type: RTM_NEWTFILTER,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      trafficHeader({
        link: from,
        parent: INGRESS_HANDLE,
        info: (priority << 16) | ETH_P_ALL_NETWORK_ORDER,
      }),
      encodeAttributes([
        text(TCA_KIND, 'u32'),
        nested(TCA_OPTIONS, [
          bytes(TCA_U32_SEL, matchAll()),
          u32(TCA_U32_CLASSID, 0x10001),
          nested(TCA_U32_ACT, [
            nested(1, [
              text(TCA_ACT_KIND, 'mirred'),
              nested(TCA_ACT_OPTIONS, [bytes(TCA_MIRRED_PARMS, redirectParameters(to))]),
            ]),
          ]),
        ]),
      ]),
    ]),
  };
}

/** Asks for the qdiscs of all links. */
export function listQdiscs(): Request {
  return { action: 'list qdiscs', type: RTM_GETQDISC, flags: 0, body: trafficHeader({ link: 0 }) };
}

export function decodeQdisc(body: Buffer): Qdisc {
  const attributes = new AttributeMap(body.subarray(20));
  const kind = attributes.text(TCA_KIND) ?? '';
  return {
    link: body.readInt32LE(4),
    handle: body.readUInt32LE(8),
    parent: body.readUInt32LE(12),
    kind,
    tokenBucket: kind === 'tbf' ? decodeTokenBucket(attributes.nested(TCA_OPTIONS)) : undefined,
  };
}

function decodeTokenBucket(options: AttributeMap | undefined): TokenBucket | undefined {
  const parameters = options?.bytes(TCA_TBF_PARMS);
  if (parameters === undefined || parameters.length < 36) return undefined;
  const rate64 = options?.bytes(TCA_TBF_RATE64)?.readBigUInt64LE();
  const rate = rate64 ?? BigInt(parameters.readUInt32LE(8));
  const nanoseconds = BigInt(parameters.readUInt32LE(28)) * BigInt(NANOSECONDS_PER_TICK);
  return {
    rate,
    burst: Number((nanoseconds * rate) / 1_000_000_000n),
    limit: parameters.readUInt32LE(24),
  };
}

/** struct tc_tbf_qopt: two struct tc_ratespec of 12 bytes, then limit, buffer (ticks), mtu. */
function tokenBucketParameters(bucket: TokenBucket): Buffer {
  const buffer = Buffer.alloc(36);
  const rate = bucket.rate > 0xffffffffn ? 0xffffffff : Number(bucket.rate);
  buffer.writeUInt32LE(rate, 8);
  buffer.writeUInt32LE(bucket.limit, 24);
  buffer.writeUInt32LE(burstTicks(bucket), 28);
  return buffer;
}

/** struct tc_u32_sel with one key whose mask is empty. */
function matchAll(): Buffer {
  const buffer = Buffer.alloc(16 + 16);
  buffer.writeUInt8(TC_U32_TERMINAL, 0);
  buffer.writeUInt8(1, 2);
  return buffer;
}

/** struct tc_mirred. */
function redirectParameters(to: number): Buffer {
  const buffer = Buffer.alloc(28);
  buffer.writeInt32LE(TC_ACT_STOLEN, 8);
  buffer.writeInt32LE(TCA_EGRESS_REDIR, 20);
  buffer.writeUInt32LE(to, 24);
  return buffer;
}
