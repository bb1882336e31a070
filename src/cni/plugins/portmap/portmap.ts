import { isV4, type KeyedLock } from '../../../base/index.ts';
import {
  decodeRoute,
  findRoute,
  forgetUdpConnections,
  NetworkNamespace,
  nfprotoOf,
} from '../../../linux/index.ts';
import type { Plugin, PluginCall } from '../../spec/index.ts';
import { chooseBackend, type FirewallBackend } from '../firewall-backend.ts';
import {
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
} from '../plugin-definition.ts';
import { mappingsFor, type PortmapConfig, readPortmapConfig, targets } from './configuration.ts';
import {
  checkPortsByIptables,
  collectPortsByIptables,
  mapPortsByIptables,
  unmapPortsByIptables,
} from './iptables-ports.ts';
import {
  checkPortsByNftables,
  collectPortsByNftables,
  mapPortsByNftables,
  unmapPortsByNftables,
} from './nftables-ports.ts';

/** Leads ports of the host to a container. */
export function portmap(turns: KeyedLock): Plugin {
  return definePlugin('portmap', {
    async add(call) {
      const config = readPortmapConfig(call);
      const result = requirePrevResult(call);
      if (config.mappings.length === 0) return result;
      using host = NetworkNamespace.current();
      const backend = await backendOf(call, config, host);
      for (const target of targets(result, call.ifname)) {
        if (mappingsFor(config, target.ip).length === 0) continue;
        if (backend === 'iptables') await mapPortsByIptables(target, config, call);
        else await mapPortsByNftables({ host, turns }, target, config, call);
        if (config.snat && isV4(target.ip)) await allowLocalhost(host, target.ip);
        await forgetStaleConnections(host, target.ip, config);
      }
      return result;
    },

    async del(call) {
      const config = readPortmapConfig(call);
      // With a result, the configuration is that of ADD: nothing was asked for.
      if (config.mappings.length === 0 && call.config.prevResult !== undefined) return;
      using host = NetworkNamespace.current();
      const known = targets(call.config.prevResult ?? NO_RESULT, call.ifname);
      if ((await backendOf(call, config, host)) === 'nftables') {
        await unmapPortsByNftables({ host, turns }, call);
      } else {
        const families = known.map(({ ip }) => (isV4(ip) ? (4 as const) : (6 as const)));
        await unmapPortsByIptables(families.length === 0 ? [4, 6] : families, call);
      }
      for (const { ip } of known) await forgetStaleConnections(host, ip, config);
    },

    async check(call) {
      const config = readPortmapConfig(call);
      const result = requirePrevResult(call);
      if (config.mappings.length === 0) return;
      using host = NetworkNamespace.current();
      const backend = await backendOf(call, config, host);
      for (const target of targets(result, call.ifname)) {
        if (backend === 'iptables') await checkPortsByIptables(target, config, call);
        else await checkPortsByNftables({ host, turns }, target, config, call);
      }
    },

    async gc(call) {
      using host = NetworkNamespace.current();
      const backend = await backendOf(call, readPortmapConfig(call), host);
      if (backend === 'iptables') await collectPortsByIptables(call);
      else await collectPortsByNftables({ host, turns }, call);
    },
  });
}

const NO_RESULT = { interfaces: [], ips: [], routes: [], dns: {} };

/** iptables where it is asked for, or something is set that only it can do. */
async function backendOf(
  call: PluginCall,
  config: PortmapConfig,
  host: NetworkNamespace,
): Promise<FirewallBackend> {
  const wanted = readConfig(call).get('backend')?.string();
  if (!config.needsIptables) return chooseBackend(call, 'backend', host);
  if (wanted === 'nftables') {
    throw invalidConfig(
      'conditionsV4, conditionsV6, markMasqBit and externalSetMarkChain need backend "iptables"',
    );
  }
  return 'iptables';
}

/** Packets from 127.0.0.1 may leave by the link that the container is reached by. */
async function allowLocalhost(host: NetworkNamespace, ip: Buffer): Promise<void> {
  const route = decodeRoute((await host.route.get(findRoute(ip))).body);
  if (route?.link === undefined) return;
  const { name } = await host.link(route.link);
  host.writeSysctls({ [`net/ipv4/conf/${name}/route_localnet`]: '1' });
}

/** A UDP "connection" that goes on would keep going where it went before: to or from the pod. */
async function forgetStaleConnections(
  host: NetworkNamespace,
  ip: Buffer,
  config: PortmapConfig,
): Promise<void> {
  const udp = mappingsFor(config, ip).filter(({ protocol }) => protocol === 'udp');
  for (const { hostPort } of udp) {
    await forgetUdpConnections(host.netfilter, nfprotoOf(ip), hostPort);
  }
}
