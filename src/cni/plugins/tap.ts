import { changeLink, createTap } from '../../linux/index.ts';
import { CNI_ERROR, CniError, type Plugin } from '../spec/index.ts';
import { readMac } from './mac.ts';
import { readConfig } from './plugin-definition.ts';
import { podLinkPlugin } from './pod-link.ts';

const LARGEST_ID = 0xfffffffe;

/** Gives a container a tap device, for a virtual machine that runs in it. */
export function tap(): Plugin {
  return podLinkPlugin({
    type: 'tap',
    kind: 'tun',
    ipam: 'optional',
    sysctls: { 'net/ipv4/conf/IFNAME/arp_notify': '1' },
    async create({ call, pod }) {
      const config = readConfig(call);
      if (config.get('selinuxContext')?.string()) {
        throw new CniError(CNI_ERROR.UNSUPPORTED_FIELD, 'Unsupported field "selinuxContext"', {
          details: 'a tap device of a context of its own cannot be made',
        });
      }
      const owner = config.get('owner')?.integer(0, LARGEST_ID);
      const group = config.get('group')?.integer(0, LARGEST_ID);
      const mtu = config.get('mtu')?.integer(0, 65535) ?? 0;
      const mac = readMac(call, config.get('mac')?.string());
      const bridge = config.get('bridge')?.string() || undefined;
      const master = bridge === undefined ? undefined : (await pod.link(bridge)).index;
      pod.inside(() =>
        createTap(call.ifname, {
          multiQueue: config.get('multiQueue')?.boolean() ?? false,
          ...(owner === undefined ? {} : { owner }),
          ...(group === undefined ? {} : { group }),
        }),
      );
      const link = await pod.link(call.ifname);
      await pod.change(
        changeLink(link.index, {
          ...(mtu === 0 ? {} : { mtu }),
          ...(mac === undefined ? {} : { mac }),
          ...(master === undefined ? {} : { master }),
        }),
      );
    },
  });
}
