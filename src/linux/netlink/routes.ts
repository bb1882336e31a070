import { type Cidr, formatCidr, formatIp, type Ip } from '../../base/index.ts';
import { AF, familyOf } from './addresses.ts';
import {
  type Attribute,
  AttributeMap,
  bytes,
  encodeAttributes,
  nested,
  u32,
} from './attributes.ts';
import { NLM_F, type Request } from './messages.ts';

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, METRICS: 8, TABLE: 15 } as const;
const RTAX_MTU = 2;
const RTAX_ADVMSS = 8;
const RTNH_F_ONLINK = 4;
const RTN_UNICAST = 1;
const RTM_F_CLONED = 0x200;

/** Routing tables, from linux/rtnetlink.h. */
export const ROUTE_TABLE = { MAIN: 254, LOCAL: 255 } as const;
/** Who made a route. */
export const ROUTE_PROTOCOL = { KERNEL: 2, BOOT: 3 } as const;
/** How far a destination is. */
export const ROUTE_SCOPE = { GLOBAL: 0, LINK: 253, HOST: 254 } as const;

export interface Route {
  /** `0.0.0.0/0` and `::/0` are the default routes. */
  readonly destination: Cidr;
  readonly gateway?: Ip | undefined;
  /** Index of the link that it leaves by. */
  readonly link?: number | undefined;
  /** Preferred source address. */
  readonly source?: Ip | undefined;
  readonly table?: number | undefined;
  readonly protocol?: number | undefined;
  readonly scope?: number | undefined;
  readonly priority?: number | undefined;
  readonly mtu?: number | undefined;
  /** TCP maximum segment size to advertise. */
  readonly advmss?: number | undefined;
  /** The gateway is reached by the link although no network of it holds the gateway. */
  readonly onLink?: boolean | undefined;
  /** 1 unicast, 2 local, … (rtm_type). */
  readonly type?: number | undefined;
}

/** Adds a route. A route that differs only in its next hop may be there already. */
export function addRoute(route: Route): Request {
  return {
    action: `add route ${describe(route)}`,
    type: RTM_NEWROUTE,
    flags: NLM_F.CREATE,
    body: routeBody(route),
  };
}

/** Adds a route, in place of what goes to the same destination. */
export function replaceRoute(route: Route): Request {
  return {
    action: `replace route ${describe(route)}`,
    type: RTM_NEWROUTE,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    body: routeBody(route),
  };
}

export function deleteRoute(route: Route): Request {
  return {
    action: `delete route ${describe(route)}`,
    type: RTM_DELROUTE,
    flags: 0,
    body: routeBody(route),
  };
}

/** Asks for the routes of a family. */
export function listRoutes(family: number): Request {
  const body = Buffer.alloc(12);
  body.writeUInt8(family);
  return { action: 'list routes', type: RTM_GETROUTE, flags: 0, body };
}

/** Asks by which route packets to `ip` go. */
export function findRoute(ip: Ip): Request {
  const body = Buffer.alloc(12);
  body.writeUInt8(familyOf(ip));
  body.writeUInt8(ip.length * 8, 1);
  return {
    action: `find a route to ${formatIp(ip)}`,
    type: RTM_GETROUTE,
    flags: 0,
    body: Buffer.concat([body, encodeAttributes([bytes(RTA.DST, ip)])]),
  };
}

/** Answers undefined for entries of the route cache. */
export function decodeRoute(body: Buffer): Route | undefined {
  const flags = body.readUInt32LE(8);
  const attributes = new AttributeMap(body.subarray(12));
  const size = body.readUInt8() === AF.INET ? 4 : 16;
  const metrics = attributes.nested(RTA.METRICS);
  return {
    destination: {
      ip: copy(attributes.bytes(RTA.DST)) ?? Buffer.alloc(size),
      prefix: body.readUInt8(1),
    },
    gateway: copy(attributes.bytes(RTA.GATEWAY)),
    link: attributes.u32(RTA.OIF),
    source: copy(attributes.bytes(RTA.PREFSRC)),
    table: attributes.u32(RTA.TABLE) ?? body.readUInt8(4),
    protocol: body.readUInt8(5),
    scope: body.readUInt8(6),
    type: body.readUInt8(7),
    priority: attributes.u32(RTA.PRIORITY),
    mtu: metrics?.u32(RTAX_MTU),
    advmss: metrics?.u32(RTAX_ADVMSS),
    onLink: (flags & RTNH_F_ONLINK) !== 0,
  };
}

/** Whether a listed route is an entry of the cache, which nobody made. */
export function isClonedRoute(body: Buffer): boolean {
  return (body.readUInt32LE(8) & RTM_F_CLONED) !== 0;
}

function routeBody(route: Route): Buffer {
  const table = route.table ?? ROUTE_TABLE.MAIN;
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOf(route.destination.ip), 0);
  header.writeUInt8(route.destination.prefix, 1);
  header.writeUInt8(table < 256 ? table : 0, 4);
  header.writeUInt8(route.protocol ?? ROUTE_PROTOCOL.BOOT, 5);
  header.writeUInt8(route.scope ?? ROUTE_SCOPE.GLOBAL, 6);
  header.writeUInt8(route.type ?? RTN_UNICAST, 7);
  header.writeUInt32LE(route.onLink ? RTNH_F_ONLINK : 0, 8);
  return Buffer.concat([header, encodeAttributes(routeAttributes(route, table))]);
}

function routeAttributes(route: Route, table: number): Attribute[] {
  const metrics = [
    ...(route.mtu === undefined ? [] : [u32(RTAX_MTU, route.mtu)]),
    ...(route.advmss === undefined ? [] : [u32(RTAX_ADVMSS, route.advmss)]),
  ];
  return [
    ...(route.destination.prefix === 0 ? [] : [bytes(RTA.DST, route.destination.ip)]),
    ...(route.gateway === undefined ? [] : [bytes(RTA.GATEWAY, route.gateway)]),
    ...(route.source === undefined ? [] : [bytes(RTA.PREFSRC, route.source)]),
    ...(route.link === undefined ? [] : [u32(RTA.OIF, route.link)]),
    ...(route.priority === undefined ? [] : [u32(RTA.PRIORITY, route.priority)]),
    ...(metrics.length === 0 ? [] : [nested(RTA.METRICS, metrics)]),
    ...(table < 256 ? [] : [u32(RTA.TABLE, table)]),
  ];
}

function describe(route: Route): string {
  const via = route.gateway === undefined ? '' : ` via ${formatIp(route.gateway)}`;
  const dev = route.link === undefined ? '' : ` by link ${route.link}`;
  return `${formatCidr(route.destination)}${via}${dev}`;
}

function copy(value: Buffer | undefined): Buffer | undefined {
  return value === undefined ? undefined : Buffer.from(value);
}
