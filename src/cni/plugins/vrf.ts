import {
  AF,
  addAddress,
  addRoute,
  changeLink,
  createLink,
  deleteLink,
  type Link,
  type NetworkNamespace,
  ROUTE_PROTOCOL,
  ROUTE_TABLE,
} from '../../linux/index.ts';
import { CNI_ERROR, CniError, type Plugin, type PluginCall } from '../spec/index.ts';
import {
  checkFailed,
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
} from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';

const IFLA_VRF_TABLE = 1;

/** Puts a container's interface into a VRF: a routing domain of its own. */
export function vrf(): Plugin {
  return definePlugin('vrf', {
    async add(call) {
      const { name, table } = readVrfConfig(call);
      const result = requirePrevResult(call);
      using pod = openPod(call);
      const domain = await ensureVrf(pod, name, table);
      await enslave(pod, domain, call.ifname);
      return result;
    },

    async del(call) {
      const { name } = readVrfConfig(call);
      using pod = openPodIfExists(call);
      const domain = await pod?.findLink(name);
      if (pod === undefined || domain?.kind !== 'vrf') return;
      const link = await pod.findLink(call.ifname);
      if (link?.master === domain.index) await pod.change(changeLink(link.index, { master: 0 }));
      const others = (await pod.links()).filter(({ master }) => master === domain.index);
      if (others.length === 0) await pod.change({ ...deleteLink(name), tolerate: ['ENODEV'] });
    },

    async check(call) {
      const { name } = readVrfConfig(call);
      requirePrevResult(call);
      using pod = openPod(call);
      const domain = await pod.findLink(name);
      const link = await pod.findLink(call.ifname);
      if (domain?.kind !== 'vrf' || link?.master !== domain.index) {
        throw checkFailed(`"${call.ifname}" is not in VRF "${name}"`);
      }
    },
  });
}

function readVrfConfig(call: PluginCall): { name: string; table: number } {
  const config = readConfig(call);
  const name = config.get('vrfname')?.string() ?? '';
  if (name === '') throw invalidConfig('"vrfname" is missing');
  return { name, table: config.get('table')?.integer(0, 0xffffffff) ?? 0 };
}

/** The VRF of that name; `table` 0 is any that no other VRF has. */
async function ensureVrf(pod: NetworkNamespace, name: string, table: number): Promise<Link> {
  const present = await pod.findLink(name);
  if (present === undefined) {
    const number = table === 0 ? await freeTable(pod) : table;
    await pod.change(createLink({ name, kind: { type: 'vrf', table: number }, up: true }));
    return pod.link(name);
  }
  if (present.kind !== 'vrf') throw new CniError(CNI_ERROR.INTERNAL, `"${name}" is not a VRF`);
  const has = tableOf(present);
  if (table !== 0 && has !== table) {
    throw new CniError(
      CNI_ERROR.INTERNAL,
      `VRF "${name}" already exists with routing table ${has}`,
    );
  }
  return present;
}

async function freeTable(pod: NetworkNamespace): Promise<number> {
  const taken = new Set((await pod.links()).map(tableOf));
  let table = 1;
  while (taken.has(table)) table++;
  return table;
}

function tableOf(link: Link): number | undefined {
  return link.kind === 'vrf' ? link.kindData?.u32(IFLA_VRF_TABLE) : undefined;
}

/** The kernel drops IPv6 addresses and routes of a link that joins: they are put back. */
async function enslave(pod: NetworkNamespace, domain: Link, ifname: string): Promise<void> {
  const link = await pod.link(ifname);
  if (link.master !== undefined && link.master !== 0) {
    const { name } = await pod.link(link.master);
    throw new CniError(CNI_ERROR.INTERNAL, `Interface "${ifname}" has a master already: "${name}"`);
  }
  const { index } = link;
  const addresses = (await pod.addresses(index, AF.INET6)).filter(({ scope }) => scope === 0);
  const routes = [...(await pod.routes(AF.INET)), ...(await pod.routes(AF.INET6))].filter(
    (route) =>
      route.link === index &&
      route.table === ROUTE_TABLE.MAIN &&
      route.protocol !== ROUTE_PROTOCOL.KERNEL,
  );
  const table = tableOf(domain);
  await pod.change(
    changeLink(index, { master: domain.index }),
    ...addresses.map(({ cidr }) => ({ ...addAddress(index, cidr), tolerate: ['EEXIST'] })),
    ...routes
      .toSorted((a, b) => Number(a.gateway !== undefined) - Number(b.gateway !== undefined))
      .map((route) => ({ ...addRoute({ ...route, table }), tolerate: ['EEXIST'] })),
  );
}
