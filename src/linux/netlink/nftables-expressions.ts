import { type Cidr, isV4, maskOf, networkOf } from '../../base/index.ts';
import { type Attribute, be32, bytes, nested, text } from './attributes.ts';

/**
 * Expressions of nftables rules (linux/netfilter/nf_tables.h). Each function answers what
 * one term of nft(8) compiles to. Values pass through registers: 1 holds 16 bytes; 8 and
 * up hold 4 bytes each and are the same memory, so that a key put together from parts
 * starts in register 1 and goes on in `REGISTER_32 + n`.
 */
export type Expression = Attribute[];

/** The first register of 4 bytes; it begins where register 1 does. */
export const REGISTER_32 = 8;

const LIST_ELEMENT = 1;
const DATA_VALUE = 1;
const DATA_VERDICT = 2;
const VERDICT_CODES = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 } as const;
const META_KEYS = { mark: 3, iifname: 6, nfproto: 15, l4proto: 16 } as const;
const PAYLOAD_BASES = { link: 0, network: 1, transport: 2 } as const;
const IFNAMSIZ = 16;
const CT_STATUS = 2;
const IPS_DST_NAT = 0x20;
const FIB_RESULT_ADDRTYPE = 3;
const FIB_F_DADDR = 2;
const RTN_LOCAL = 2;
const NFT_NAT_DNAT = 1;

/** Protocol families of netfilter. */
export const NFPROTO = { UNSPEC: 0, INET: 1, IPV4: 2, BRIDGE: 7, IPV6: 10 } as const;

export type Verdict =
  | { readonly code: 'accept' | 'drop' | 'return' }
  | { readonly code: 'jump' | 'goto'; readonly chain: string };

export function nfprotoOf(ip: Uint8Array): number {
  return isV4(ip) ? NFPROTO.IPV4 : NFPROTO.IPV6;
}

function expression(name: string, data: Attribute[]): Attribute {
  return nested(LIST_ELEMENT, [text(1, name), nested(2, data)]);
}

export function dataValue(type: number, value: Uint8Array): Attribute {
  return nested(type, [bytes(DATA_VALUE, value)]);
}

export function dataVerdict(type: number, verdict: Verdict): Attribute {
  return nested(type, [
    nested(DATA_VERDICT, [
      be32(1, VERDICT_CODES[verdict.code]),
      ...('chain' in verdict ? [text(2, verdict.chain)] : []),
    ]),
  ]);
}

function meta(key: keyof typeof META_KEYS, register = 1): Attribute {
  return expression('meta', [be32(1, register), be32(2, META_KEYS[key])]);
}

interface Payload {
  readonly base: keyof typeof PAYLOAD_BASES;
  readonly offset: number;
  readonly size: number;
  readonly register?: number;
}

function payload({ base, offset, size, register = 1 }: Payload): Attribute {
  return expression('payload', [
    be32(1, register),
    be32(2, PAYLOAD_BASES[base]),
    be32(3, offset),
    be32(4, size),
  ]);
}

function compare(value: Uint8Array, equal = true): Attribute {
  return expression('cmp', [be32(1, 1), be32(2, equal ? 0 : 1), dataValue(3, value)]);
}

function bitAnd(mask: Uint8Array): Attribute {
  return expression('bitwise', [
    be32(1, 1),
    be32(2, 1),
    be32(3, mask.length),
    dataValue(4, mask),
    dataValue(5, Buffer.alloc(mask.length)),
  ]);
}

/** Loads a field of the IP header: the source or destination address of a family. */
export function loadAddress(family: number, field: 'saddr' | 'daddr', register = 1): Attribute {
  const v4 = family === NFPROTO.IPV4;
  const offset = field === 'saddr' ? (v4 ? 12 : 8) : v4 ? 16 : 24;
  return payload({ base: 'network', offset, size: v4 ? 4 : 16, register });
}

/** `meta nfproto ipv4`: in chains of family inet, before looking at addresses. */
export function matchFamily(family: number): Expression {
  return [meta('nfproto'), compare(Buffer.of(family))];
}

/** `ip daddr == 10.0.0.0/8`. */
export function matchAddress(field: 'saddr' | 'daddr', cidr: Cidr, equal = true): Expression {
  const size = cidr.ip.length;
  return [
    loadAddress(nfprotoOf(cidr.ip), field),
    ...(cidr.prefix === size * 8 ? [] : [bitAnd(maskOf(cidr.prefix, size))]),
    compare(networkOf(cidr).ip, equal),
  ];
}

/** `fib daddr type local`. */
export function matchLocalDestination(): Expression {
  const type = Buffer.alloc(4);
  type.writeUInt32LE(RTN_LOCAL);
  return [
    expression('fib', [be32(1, 1), be32(2, FIB_RESULT_ADDRTYPE), be32(3, FIB_F_DADDR)]),
    compare(type),
  ];
}

/** `ct status dnat`: packets of connections whose destination was changed. */
export function matchDestinationNat(): Expression {
  const bit = Buffer.alloc(4);
  bit.writeUInt32LE(IPS_DST_NAT);
  return [
    expression('ct', [be32(1, 1), be32(2, CT_STATUS)]),
    bitAnd(bit),
    compare(Buffer.alloc(4), false),
  ];
}

/** `iifname "veth0"`. */
export function matchInputInterface(name: string): Expression {
  const padded = Buffer.alloc(IFNAMSIZ);
  padded.write(name);
  return [meta('iifname'), compare(padded)];
}

/** `ether saddr aa:bb:cc:dd:ee:ff`. */
export function matchSourceMac(mac: Uint8Array): Expression {
  return [payload({ base: 'link', offset: 6, size: 6 }), compare(mac)];
}

/** Loads `meta l4proto . th dport` into two registers of four bytes. */
export function loadProtocolAndPort(register: number): Expression {
  return [
    meta('l4proto', register === REGISTER_32 ? 1 : register),
    payload({ base: 'transport', offset: 2, size: 2, register: register + 1 }),
  ];
}

/** `… vmap @map`: the verdict of what register 1 holds, if the map has one. */
export function verdictOf(map: string): Expression {
  return [expression('lookup', [text(1, map), be32(2, 1), be32(3, 0)])];
}

/** Looks register 1 up in a map of address and port, and sends the connection there. */
export function dnatBy(map: string, family: number): Expression {
  const portRegister = REGISTER_32 + (family === NFPROTO.IPV4 ? 1 : 4);
  return [
    expression('lookup', [text(1, map), be32(2, 1), be32(3, 1)]),
    expression('nat', [be32(1, NFT_NAT_DNAT), be32(2, family), be32(3, 1), be32(5, portRegister)]),
  ];
}

export function masquerade(): Expression {
  return [expression('masq', [])];
}

/** Ends the rule with a verdict. */
export function decide(verdict: Verdict): Expression {
  return [expression('immediate', [be32(1, 0), dataVerdict(2, verdict)])];
}
