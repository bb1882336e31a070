import { createLink } from '../../linux/index.ts';
import type { Plugin, PluginCall } from '../spec/index.ts';
import { findParent } from './parent-link.ts';
import { checkFailed, invalidConfig, readConfig } from './plugin-definition.ts';
import { podLinkPlugin } from './pod-link.ts';

const IFLA_VLAN_ID = 1;

/** Gives a container a link for one VLAN (802.1Q) on a link of the host. */
export function vlan(): Plugin {
  return podLinkPlugin({
    type: 'vlan',
    kind: 'vlan',
    ipam: 'required',
    sysctls: {},
    async create(place) {
      const { call } = place;
      const config = readConfig(call);
      if (!config.get('master')?.string())
        throw invalidConfig('vlan needs "master", a link of the host');
      const id = readId(call);
      const parent = await findParent(place);
      await parent.namespace.change(
        createLink({
          name: call.ifname,
          kind: { type: 'vlan', id },
          parent: parent.link.index,
          ...parent.size,
          ...parent.target,
        }),
      );
    },
    async check(link, { call }) {
      const id = readId(call);
      if (link.kindData?.u16(IFLA_VLAN_ID) !== id)
        throw checkFailed(`"${call.ifname}" is not VLAN ${id}`);
    },
  });
}

function readId(call: PluginCall): number {
  return readConfig(call).get('vlanId')?.integer(0, 4094) ?? 0;
}
