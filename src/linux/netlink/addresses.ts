import { type Cidr, formatCidr, isV4, lastIpOf } from '../../base/index.ts';
import { AttributeMap, bytes, encodeAttributes } from './attributes.ts';
import { NLM_F, type Request } from './messages.ts';

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F = { DADFAILED: 0x08, TENTATIVE: 0x40 } as const;

/** Address families, from linux/socket.h. */
export const AF = { UNSPEC: 0, INET: 2, INET6: 10 } as const;

export interface Address {
  /** Index of the link. */
  readonly index: number;
  readonly cidr: Cidr;
  /** IPv6: not usable yet, while the kernel looks whether somebody else has it. */
  readonly tentative: boolean;
  /** IPv6: somebody else has it. */
  readonly duplicate: boolean;
  /** 0 global, 253 link, 254 host (linux/rtnetlink.h). */
  readonly scope: number;
}

export function familyOf(ip: Uint8Array): number {
  return isV4(ip) ? AF.INET : AF.INET6;
}

/** Gives a link an address. IPv4 networks of more than two addresses get a broadcast address. */
export function addAddress(index: number, cidr: Cidr): Request {
  return {
    action: `add address ${formatCidr(cidr)} to link ${index}`,
    type: RTM_NEWADDR,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: addressBody(index, cidr),
  };
}

export function deleteAddress(index: number, cidr: Cidr): Request {
  return {
    action: `delete address ${formatCidr(cidr)} of link ${index}`,
    type: RTM_DELADDR,
    flags: 0,
    body: addressBody(index, cidr),
  };
}

/** Asks for the addresses of one link, or of all with index 0. */
export function listAddresses(index = 0, family: number = AF.UNSPEC): Request {
  return {
    action: 'list addresses',
    type: RTM_GETADDR,
    flags: 0,
    body: header(index, family, 0),
  };
}

/** `index` filters, because old kernels list the addresses of all links. */
export function decodeAddress(body: Buffer, index = 0): Address | undefined {
  const at = body.readUInt32LE(4);
  if (index !== 0 && at !== index) return undefined;
  const attributes = new AttributeMap(body.subarray(8));
  const ip = attributes.bytes(IFA_LOCAL) ?? attributes.bytes(IFA_ADDRESS);
  if (ip === undefined) return undefined;
  const flags = attributes.u32(IFA_FLAGS) ?? body.readUInt8(2);
  return {
    index: at,
    cidr: { ip: Buffer.from(ip), prefix: body.readUInt8(1) },
    tentative: (flags & IFA_F.TENTATIVE) !== 0,
    duplicate: (flags & IFA_F.DADFAILED) !== 0,
    scope: body.readUInt8(3),
  };
}

function addressBody(index: number, cidr: Cidr): Buffer {
  const broadcast = isV4(cidr.ip) && cidr.prefix < 31;
  return Buffer.concat([
    header(index, familyOf(cidr.ip), cidr.prefix),
    encodeAttributes([
      bytes(IFA_LOCAL, cidr.ip),
      bytes(IFA_ADDRESS, cidr.ip),
      ...(broadcast ? [bytes(IFA_BROADCAST, lastIpOf(cidr))] : []),
    ]),
  ]);
}

/** struct ifaddrmsg. */
function header(index: number, family: number, prefix: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeUInt8(family, 0);
  buffer.writeUInt8(prefix, 1);
  buffer.writeUInt32LE(index, 4);
  return buffer;
}
