import { createLink, type IpvlanMode } from '../../linux/index.ts';
import type { CniResult, Plugin, PluginCall } from '../spec/index.ts';
import { findParent } from './parent-link.ts';
import { checkFailed, invalidConfig, readConfig } from './plugin-definition.ts';
import { podLinkPlugin } from './pod-link.ts';

const IFLA_IPVLAN_MODE = 1;
/** The kernel's numbers of modes. */
const MODES: Record<IpvlanMode, number> = { l2: 0, l3: 1, l3s: 2 };

/** Gives a container a link that shares the hardware address of a link of the host. */
export function ipvlan(): Plugin {
  return podLinkPlugin({
    type: 'ipvlan',
    kind: 'ipvlan',
    ipam: 'required',
    sysctls: { 'net/ipv4/conf/IFNAME/arp_notify': '1', 'net/ipv6/conf/IFNAME/ndisc_notify': '1' },
    withoutIpam: chainedResult,
    async create(place) {
      const { call } = place;
      const mode = readMode(call);
      const parent = await findParent(place, chainedMaster(call));
      await parent.namespace.change(
        createLink({
          name: call.ifname,
          kind: { type: 'ipvlan', mode },
          parent: parent.link.index,
          ...parent.size,
          ...parent.target,
        }),
      );
    },
    async check(link, { call }) {
      const mode = readMode(call);
      if (link.kindData?.u16(IFLA_IPVLAN_MODE) !== MODES[mode]) {
        throw checkFailed(`"${call.ifname}" is not in ipvlan mode ${mode}`);
      }
    },
  });
}

/** Chained, it takes over the addresses of the plugin before. */
function chainedResult(call: PluginCall): CniResult | undefined {
  const { prevResult } = call.config;
  return prevResult !== undefined && prevResult.ips.length > 0
    ? structuredClone(prevResult)
    : undefined;
}

/** Chained, the interface of the plugin before is the master, if it is the only one. */
function chainedMaster(call: PluginCall): string | undefined {
  const { prevResult } = call.config;
  if (prevResult === undefined || readConfig(call).get('master')?.string()) return undefined;
  const [only, ...others] = prevResult.interfaces;
  if (only === undefined || others.length > 0) {
    throw invalidConfig(
      '"master" is missing, and prevResult lacks a single interface to use instead',
    );
  }
  return only.name;
}

function readMode(call: PluginCall): IpvlanMode {
  const mode = readConfig(call).get('mode')?.string() || 'l2';
  if (Object.hasOwn(MODES, mode)) return mode as IpvlanMode;
  throw invalidConfig(`unknown ipvlan mode ${JSON.stringify(mode)}`);
}
