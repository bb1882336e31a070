import { createLink, type Link, type MacvlanMode } from '../../linux/index.ts';
import type { Plugin, PluginCall } from '../spec/index.ts';
import { readMac } from './mac.ts';
import { findParent } from './parent-link.ts';
import { checkFailed, invalidConfig, readConfig } from './plugin-definition.ts';
import { podLinkPlugin } from './pod-link.ts';

const IFLA_MACVLAN_MODE = 1;
/** The kernel's numbers of modes. */
const MODES: Record<MacvlanMode, number> = { private: 1, vepa: 2, bridge: 4, passthru: 8 };

/** Gives a container a link with a hardware address of its own on a link of the host. */
export function macvlan(): Plugin {
  return podLinkPlugin({
    type: 'macvlan',
    kind: 'macvlan',
    ipam: 'optional',
    sysctls: { 'net/ipv4/conf/IFNAME/arp_notify': '1', 'net/ipv6/conf/IFNAME/ndisc_notify': '1' },
    async create(place) {
      const { call } = place;
      const config = readConfig(call);
      const mode = readMode(call);
      const mac = readMac(call, config.get('mac')?.string());
      const queue = config.get('bcqueuelen')?.integer(0, 0xffffffff) ?? 0;
      const parent = await findParent(place);
      await parent.namespace.change(
        createLink({
          name: call.ifname,
          kind: { type: 'macvlan', mode, ...(queue === 0 ? {} : { broadcastQueueLength: queue }) },
          parent: parent.link.index,
          ...parent.size,
          ...parent.target,
          ...(mac === undefined ? {} : { mac }),
        }),
      );
    },
    async check(link: Link, { call }) {
      const mode = readMode(call);
      if (link.kindData?.u32(IFLA_MACVLAN_MODE) !== MODES[mode]) {
        throw checkFailed(`"${call.ifname}" is not in macvlan mode ${mode}`);
      }
    },
  });
}

function readMode(call: PluginCall): MacvlanMode {
  const mode = readConfig(call).get('mode')?.string() || 'bridge';
  if (Object.hasOwn(MODES, mode)) return mode as MacvlanMode;
  throw invalidConfig(`unknown macvlan mode ${JSON.stringify(mode)}`);
}
