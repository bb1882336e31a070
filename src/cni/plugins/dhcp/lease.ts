import { formatCidr, formatIp, isUnspecified } from '../../../base/index.ts';
import type { CniRoute } from '../../spec/index.ts';
import { type DhcpMessage, OPTION } from './message.ts';

/** What a server granted. Times are milliseconds since the epoch. */
export interface Lease {
  readonly address: string;
  readonly prefix: number;
  readonly gateway: string | undefined;
  readonly routes: readonly CniRoute[];
  readonly server: string | undefined;
  readonly renewAt: number;
  readonly rebindAt: number;
  readonly expireAt: number;
}

/** For how long a lease is that does not say so, in seconds. */
const DEFAULT_TIME = 3600;
/** Of a route: its destination is on the link (rtnetlink(7)). */
const SCOPE_LINK = 253;

/** The lease in an acknowledgement; undefined if it lacks what a lease needs. */
export function leaseOf(ack: DhcpMessage, now: number): Lease | undefined {
  const { options, yourIp } = ack;
  const mask = options.get(OPTION.SUBNET_MASK);
  if (mask?.length !== 4 || yourIp === undefined) return undefined;
  const prefix = prefixOf(mask);
  if (prefix === undefined) return undefined;
  const time = number32(options.get(OPTION.LEASE_TIME)) ?? DEFAULT_TIME;
  const rebind = within(number32(options.get(OPTION.REBINDING_TIME)), time, 0.85);
  const renew = Math.min(within(number32(options.get(OPTION.RENEWAL_TIME)), time, 0.5), rebind);
  const router = options.get(OPTION.ROUTER);
  const server = options.get(OPTION.SERVER_ID);
  return {
    address: formatIp(yourIp),
    prefix,
    gateway:
      router !== undefined && router.length >= 4 ? formatIp(router.subarray(0, 4)) : undefined,
    routes: routesOf(options),
    server: server?.length === 4 ? formatIp(server) : undefined,
    renewAt: now + renew * 1000,
    rebindAt: now + rebind * 1000,
    expireAt: now + time * 1000,
  };
}

/** Classless routes replace static ones and the router (RFC 3442). */
function routesOf(options: ReadonlyMap<number, Buffer>): CniRoute[] {
  const classless = classlessRoutes(options.get(OPTION.CLASSLESS_ROUTES) ?? Buffer.alloc(0));
  if (classless.length > 0) return classless;
  const router = options.get(OPTION.ROUTER);
  return [
    ...staticRoutes(options.get(OPTION.STATIC_ROUTES) ?? Buffer.alloc(0)),
    ...(router !== undefined && router.length >= 4
      ? [{ dst: '0.0.0.0/0', gw: formatIp(router.subarray(0, 4)) }]
      : []),
  ];
}

/** Prefix length, as many bytes of the destination as that needs, gateway (0.0.0.0: on the link). */
function classlessRoutes(value: Buffer): CniRoute[] {
  const routes: CniRoute[] = [];
  let at = 0;
  while (at < value.length) {
    const prefix = value[at] ?? 0;
    const size = Math.ceil(prefix / 8);
    if (prefix > 32 || at + 1 + size + 4 > value.length) break;
    const ip = Buffer.alloc(4);
    value.copy(ip, 0, at + 1, at + 1 + size);
    const gateway = value.subarray(at + 1 + size, at + 5 + size);
    const dst = formatCidr({ ip, prefix });
    routes.push(
      isUnspecified(gateway) ? { dst, scope: SCOPE_LINK } : { dst, gw: formatIp(gateway) },
    );
    at += 5 + size;
  }
  return routes;
}

/** Destination and gateway; the prefix follows from the class of the destination. */
function staticRoutes(value: Buffer): CniRoute[] {
  const routes: CniRoute[] = [];
  for (let at = 0; at + 8 <= value.length; at += 8) {
    const ip = value.subarray(at, at + 4);
    const first = ip[0] ?? 0;
    const prefix = first < 128 ? 8 : first < 192 ? 16 : 24;
    routes.push({
      dst: formatCidr({ ip, prefix }),
      gw: formatIp(value.subarray(at + 4, at + 8)),
    });
  }
  return routes;
}

function prefixOf(mask: Buffer): number | undefined {
  const bits = mask.readUInt32BE().toString(2).padStart(32, '0');
  return /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined;
}

function number32(value: Buffer | undefined): number | undefined {
  return value?.length === 4 ? value.readUInt32BE() : undefined;
}

/** What the server says if that is before the end, else a share of the whole. */
function within(said: number | undefined, whole: number, share: number): number {
  return said !== undefined && said <= whole ? said : Math.floor(whole * share);
}
