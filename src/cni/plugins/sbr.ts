import { type Cidr, containsIp, type Ip, isV4 } from '../../base/index.ts';
import {
  AF,
  addRule,
  deleteRoute,
  deleteRule,
  type NetworkNamespace,
  ROUTE_TABLE,
  type Route,
  replaceRoute,
} from '../../linux/index.ts';
import type { CniIp, Plugin, PluginCall } from '../spec/index.ts';
import { cidrOf, containerIps, ipOf, readIp } from './addresses.ts';
import {
  checkFailed,
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
} from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';

const FIRST_TABLE = 100;

interface SbrConfig {
  /** A table that somebody else fills; undefined: one of our own. */
  readonly table: number | undefined;
  /** Default gateways by family, in place of those of the addresses. */
  readonly gateways: readonly Ip[];
  readonly addSourceHints: boolean;
}

/**
 * Source based routing: what a container sends from an address of an interface leaves by
 * that interface, because a rule leads it to a routing table of its own.
 */
export function sbr(): Plugin {
  return definePlugin('sbr', {
    async add(call) {
      const config = readSbrConfig(call);
      const result = requirePrevResult(call);
      const ips = containerIps(result, call.ifname);
      if (ips.length === 0)
        throw invalidConfig(`no IP addresses supplied on interface "${call.ifname}"`);
      using pod = openPod(call);
      const { table } = config;
      if (table === undefined) await moveRoutes({ pod, call, config, ips });
      else await pod.change(...ips.map((ip) => addRule({ source: hostOf(ip), table })));
      return result;
    },

    async del(call) {
      const config = readSbrConfig(call);
      using pod = openPodIfExists(call);
      const link = await pod?.findLink(call.ifname);
      if (pod === undefined || link === undefined) return;
      const own = (await pod.addresses(link.index)).map(({ cidr }) => cidr.ip);
      const rules = [...(await pod.rules(AF.INET)), ...(await pod.rules(AF.INET6))];
      const mine = rules.filter(
        ({ source, table }) =>
          source.prefix === source.ip.length * 8 &&
          own.some((ip) => ip.equals(source.ip)) &&
          (config.table === undefined || config.table === table),
      );
      await pod.change(...mine.map((rule) => ({ ...deleteRule(rule), tolerate: ['ENOENT'] })));
    },

    async check(call) {
      const config = readSbrConfig(call);
      using pod = openPod(call);
      const rules = [...(await pod.rules(AF.INET)), ...(await pod.rules(AF.INET6))];
      for (const ip of containerIps(requirePrevResult(call), call.ifname)) {
        const source = hostOf(ip);
        const found = rules.some(
          (rule) =>
            rule.source.prefix === source.prefix &&
            rule.source.ip.equals(source.ip) &&
            (config.table === undefined || rule.table === config.table),
        );
        if (!found) throw checkFailed(`no rule for source ${ip.address}`);
      }
    },
  });
}

function readSbrConfig(call: PluginCall): SbrConfig {
  const config = readConfig(call);
  const gateways = (config.get('gateways')?.items() ?? []).flatMap((item) => readIp(item) ?? []);
  const v4 = gateways.filter(isV4).length;
  if (v4 > 1 || gateways.length - v4 > 1) {
    throw invalidConfig('gateways may hold one address of each family');
  }
  return {
    table: config.get('table')?.integer(1, 0xffffffff),
    gateways,
    addSourceHints: config.get('addSourceHints')?.boolean() ?? false,
  };
}

/** As many tables that no rule leads to and no route is in. */
async function freeTables(pod: NetworkNamespace, count: number): Promise<number[]> {
  const taken = new Set<number | undefined>();
  for (const family of [AF.INET, AF.INET6]) {
    for (const { table } of await pod.rules(family)) taken.add(table);
    for (const { table } of await pod.routes(family)) taken.add(table);
  }
  const free: number[] = [];
  for (let table = FIRST_TABLE; free.length < count; table++) {
    if (!taken.has(table)) free.push(table);
  }
  return free;
}

interface Move {
  readonly pod: NetworkNamespace;
  readonly call: PluginCall;
  readonly config: SbrConfig;
  readonly ips: readonly CniIp[];
}

/**
 * Gives each address a table with the routes of the interface that are its, and a default
 * route. The main table has them no more.
 */
async function moveRoutes({ pod, call, config, ips }: Move): Promise<void> {
  const { index } = await pod.link(call.ifname);
  const all = [...(await pod.routes(AF.INET)), ...(await pod.routes(AF.INET6))];
  const own = all.filter((route) => route.link === index && route.table === ROUTE_TABLE.MAIN);
  // Routes without gateway first: gateways are reached by them.
  const direct = own.filter(({ gateway }) => gateway === undefined);
  const ordered = [...direct, ...own.filter(({ gateway }) => gateway !== undefined)];
  const tables = await freeTables(pod, ips.length);
  const requests = ips.flatMap((ip, i) => {
    const table = tables[i] ?? FIRST_TABLE;
    return [
      addRule({ source: hostOf(ip), table }),
      ...ordered
        .filter((route) => isRouteOf(cidrOf(ip.address), route))
        .map((route) => replaceRoute({ ...withSource(route, ip, config), table })),
      ...defaultRoute(ip, config, { link: index, table }).map(replaceRoute),
    ];
  });
  const leftovers = ordered.toReversed().map(deleteRoute);
  await pod.change(...requests, ...leftovers.map((one) => ({ ...one, tolerate: ['ESRCH'] })));
}

/** A route is an address's by its source or gateway; one that has neither is everybody's. */
function isRouteOf(cidr: Cidr, { destination, source, gateway }: Route): boolean {
  if (destination.ip.length !== cidr.ip.length) return false;
  if (source === undefined && gateway === undefined) return true;
  return [source, gateway].some((ip) => ip !== undefined && containsIp(cidr, ip));
}

function defaultRoute(
  ip: CniIp,
  config: SbrConfig,
  target: { link: number; table: number },
): Route[] {
  const source = cidrOf(ip.address).ip;
  const gateway =
    config.gateways.find((one) => one.length === source.length) ??
    (ip.gateway === undefined ? undefined : ipOf(ip.gateway));
  if (gateway === undefined) return [];
  const destination = { ip: Buffer.alloc(source.length), prefix: 0 };
  return [{ ...target, destination, gateway, ...(config.addSourceHints ? { source } : {}) }];
}

/** With `addSourceHints`, routes name the address that their packets come from. */
function withSource(route: Route, ip: CniIp, config: SbrConfig): Route {
  if (!config.addSourceHints || route.source !== undefined) return route;
  return { ...route, source: cidrOf(ip.address).ip };
}

function hostOf(ip: CniIp): Cidr {
  const address = cidrOf(ip.address).ip;
  return { ip: address, prefix: address.length * 8 };
}
