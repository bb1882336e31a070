import {
  type Attribute,
  AttributeMap,
  be16,
  bytes,
  encodeAttributes,
  nested,
  u8,
  u32,
} from './attributes.ts';
import type { Request } from './messages.ts';
import type { NetlinkSocket } from './socket.ts';

const SUBSYSTEM = 1 << 8;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const CTA_TUPLE_ORIG = 1;
const CTA_ID = 12;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const FILTER_PROTO_NUM = 1 << 3;
const FILTER_PROTO_DST_PORT = 1 << 5;
const IPPROTO_UDP = 17;

/**
 * Forgets the UDP connections to a destination port, so that their next packet is looked
 * at by the present NAT rules. Answers how many there were.
 */
export async function forgetUdpConnections(
  socket: NetlinkSocket,
  family: number,
  port: number,
): Promise<number> {
  const stale = await socket.dump(listUdpConnections(family, port), ({ body }) =>
    decodeUdpConnection(body, port),
  );
  await socket.change(...stale.map((connection) => deleteConnection(family, connection)));
  return stale.length;
}

/** Asks for connections by protocol and port; kernels before 5.8 list all. */
export function listUdpConnections(family: number, port: number): Request {
  const flags = FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT;
  return request(family, IPCTNL_MSG_CT_GET, 'list UDP connections', [
    nested(CTA_TUPLE_ORIG, [
      nested(CTA_TUPLE_PROTO, [u8(CTA_PROTO_NUM, IPPROTO_UDP), be16(CTA_PROTO_DST_PORT, port)]),
    ]),
    nested(CTA_FILTER, [u32(CTA_FILTER_ORIG_FLAGS, flags), u32(CTA_FILTER_REPLY_FLAGS, 0)]),
  ]);
}

interface Connection {
  /** CTA_TUPLE_ORIG as the kernel gave it. */
  readonly tuple: Buffer;
  readonly id: Buffer | undefined;
}

function decodeUdpConnection(body: Buffer, port: number): Connection | undefined {
  const attributes = new AttributeMap(body.subarray(4));
  const tuple = attributes.bytes(CTA_TUPLE_ORIG);
  const protocol = attributes.nested(CTA_TUPLE_ORIG)?.nested(CTA_TUPLE_PROTO);
  if (tuple === undefined || protocol?.u8(CTA_PROTO_NUM) !== IPPROTO_UDP) return undefined;
  if (protocol.be16(CTA_PROTO_DST_PORT) !== port) return undefined;
  const id = attributes.bytes(CTA_ID);
  return { tuple: Buffer.from(tuple), id: id === undefined ? undefined : Buffer.from(id) };
}

function deleteConnection(family: number, { tuple, id }: Connection): Request {
  return {
    ...request(family, IPCTNL_MSG_CT_DELETE, 'forget a UDP connection', [
      bytes(CTA_TUPLE_ORIG | 0x8000, tuple),
      ...(id === undefined ? [] : [bytes(CTA_ID, id)]),
    ]),
    // It timed out meanwhile.
    tolerate: ['ENOENT'],
  };
}

function request(
  family: number,
  message: number,
  action: string,
  attributes: Attribute[],
): Request {
  return {
    action,
    type: SUBSYSTEM | message,
    flags: 0,
    body: Buffer.concat([Buffer.of(family, 0, 0, 0), encodeAttributes(attributes)]),
  };
}
