import { type Cidr, formatIp, type KeyedLock, networkOf } from '../../base/index.ts';
import {
  addAddress,
  addRoute,
  changeLink,
  deleteRoute,
  formatMac,
  type Link,
  type NetlinkRequest,
  NetworkNamespace,
  ROUTE_SCOPE,
} from '../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniIp,
  type CniResult,
  type Plugin,
  type PluginCall,
  type PluginInvoker,
} from '../spec/index.ts';
import { cidrOf, ipOf } from './addresses.ts';
import { checkAddressesAndRoutes, checkLink, containerInterface } from './check-interface.ts';
import { configureInterface } from './configure-interface.ts';
import { hasDns, readDns } from './dns.ts';
import { enableForwarding } from './forwarding.ts';
import { Ipam } from './ipam.ts';
import { Masquerade } from './masquerade.ts';
import { definePlugin, invalidConfig, readConfig, requirePrevResult } from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';
import { createVeth, deleteLinkIfExists } from './veth.ts';

/** Connects a container to the host by a link that the two have for themselves. */
export function ptp(turns: KeyedLock): Plugin {
  return definePlugin('ptp', {
    add: (call, delegates) => add(call, delegates, turns),

    async del(call, delegates) {
      using host = NetworkNamespace.current();
      using pod = openPodIfExists(call);
      await new Ipam(call, delegates).releaseAfter(async () => {
        await Promise.all([
          pod === undefined ? undefined : deleteLinkIfExists(pod, call.ifname),
          new Masquerade(call, { host, turns }).remove(),
        ]);
      });
    },

    async check(call, delegates) {
      await new Ipam(call, delegates).check();
      const result = requirePrevResult(call);
      using host = NetworkNamespace.current();
      using pod = openPod(call);
      await checkLink(pod, containerInterface(result, call.ifname, call.netns), 'veth');
      await checkAddressesAndRoutes(pod, call.ifname, result);
      const cidrs = result.ips.map((ip) => cidrOf(ip.address));
      await new Masquerade(call, { host, turns }).check(cidrs);
    },

    async gc(call, delegates) {
      using host = NetworkNamespace.current();
      await new Masquerade(call, { host, turns }).gc();
      await new Ipam(call, delegates).gc();
    },

    status: (call, delegates) => new Ipam(call, delegates).status(),
  });
}

async function add(
  call: PluginCall,
  delegates: PluginInvoker,
  turns: KeyedLock,
): Promise<CniResult> {
  const config = readConfig(call);
  const dns = readDns(config.get('dns'));
  const mtu = config.get('mtu')?.integer(0, 65535) ?? 0;
  const ipam = new Ipam(call, delegates);
  if (ipam.type === undefined) throw invalidConfig('ptp needs an IPAM plugin');
  using host = NetworkNamespace.current();
  using pod = openPod(call);
  return await ipam.withAddresses(async (result) => {
    const ips = result.ips.map((ip) => ({ ip: cidrOf(ip.address), gateway: gatewayOf(ip) }));
    enableForwarding(
      host,
      ips.map(({ ip }) => ip.ip),
    );
    const veth = await createVeth({ host, pod, ifname: call.ifname, mtu });
    await host.change(changeLink(veth.host.index, { up: true }));
    for (const ip of result.ips) ip.interface = 1;
    result.interfaces = [
      { name: veth.host.name, mac: formatMac(veth.host.mac), mtu: veth.host.mtu },
      { name: call.ifname, mac: formatMac(veth.pod.mac), mtu: veth.pod.mtu, sandbox: call.netns },
    ];
    await configureInterface({ pod, ifname: call.ifname, result, signal: call.signal });
    await pod.change(...ips.flatMap(({ ip, gateway }) => podRoutes(veth.pod, ip, gateway)));
    await host.change(...ips.flatMap(({ ip, gateway }) => hostSide(veth.host, ip, gateway)));
    await new Masquerade(call, { host, turns }).add(ips.map(({ ip }) => ip));
    return { ...result, dns: hasDns(dns) ? dns : result.dns };
  });
}

function gatewayOf(ip: CniIp): Cidr {
  if (ip.gateway === undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, `IPAM gave ${ip.address} no gateway, which ptp needs`);
  }
  return hostCidr(ipOf(ip.gateway));
}

function hostCidr(ip: Buffer): Cidr {
  return { ip, prefix: ip.length * 8 };
}

/**
 * A veth is no point-to-point link, and the gateway would be outside a network of one
 * address. So the container has an address in the subnet, but reaches all of the subnet
 * through the gateway, and the gateway alone by the link.
 */
function podRoutes(link: Link, ip: Cidr, gateway: Cidr): NetlinkRequest[] {
  const subnet = networkOf(ip);
  return [
    deleteRoute({ destination: subnet, link: link.index, scope: NOWHERE, protocol: 0, type: 0 }),
    addRoute({ destination: gateway, link: link.index, scope: ROUTE_SCOPE.LINK, source: ip.ip }),
    addRoute({ destination: subnet, link: link.index, gateway: gateway.ip, source: ip.ip }),
  ];
}

/** As the scope of a route to delete: any. */
const NOWHERE = 255;

function hostSide(link: Link, ip: Cidr, gateway: Cidr): NetlinkRequest[] {
  return [
    addAddress(link.index, gateway),
    {
      ...addRoute({ destination: hostCidr(ip.ip), link: link.index, scope: ROUTE_SCOPE.HOST }),
      action: `add a route to ${formatIp(ip.ip)} on the host`,
      tolerate: ['EEXIST'],
    },
  ];
}
