import { type Cidr, isV4 } from '../../../base/index.ts';
import { NetworkNamespace } from '../../../linux/index.ts';
import { CNI_ERROR, CniError, type Plugin, type PluginCall } from '../../spec/index.ts';
import { cidrOf } from '../addresses.ts';
import {
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
} from '../plugin-definition.ts';
import { addToZone, checkZone, isFirewalldRunning, removeFromZone } from './firewalld.ts';
import {
  addFilterRules,
  checkFilterRules,
  deleteFilterRules,
  type FilterPlan,
  type IngressPolicy,
} from './iptables-filter.ts';

const POLICIES: readonly IngressPolicy[] = ['open', 'same-bridge', 'isolated'];

/** Lets the host's firewall pass what containers send, and answers to it. */
export function firewall(): Plugin {
  return definePlugin('firewall', {
    async add(call) {
      const result = requirePrevResult(call);
      const config = await readFirewallConfig(call);
      const ips = result.ips.map((ip) => cidrOf(ip.address));
      if (config.policy === 'isolated') requireBridgeFilter(ips);
      if (config.backend === 'firewalld') await addToZone(config.zone, ips, call);
      if (config.backend === 'iptables' || config.policy !== 'open') {
        await addFilterRules({ ...config, ips, bridge: bridgeOf(call, config.policy) }, call);
      }
      return result;
    },

    /** Nothing tells which rules are the container's but its addresses. */
    async del(call) {
      const config = await readFirewallConfig(call);
      const ips = (call.config.prevResult?.ips ?? []).map((ip) => cidrOf(ip.address));
      if (config.backend === 'firewalld') await removeFromZone(config.zone, ips, call);
      else await deleteFilterRules(ips, call);
    },

    async check(call) {
      const config = await readFirewallConfig(call);
      const ips = requirePrevResult(call).ips.map((ip) => cidrOf(ip.address));
      if (config.backend === 'firewalld') return checkZone(config.zone, ips, call);
      await checkFilterRules({ ...config, ips, bridge: bridgeOf(call, config.policy) }, call);
    },
  });
}

interface FirewallConfig extends Pick<FilterPlan, 'adminChain' | 'policy'> {
  readonly backend: 'iptables' | 'firewalld';
  readonly zone: string;
}

async function readFirewallConfig(call: PluginCall): Promise<FirewallConfig> {
  const config = readConfig(call);
  const backend =
    config.get('backend')?.string() ||
    ((await isFirewalldRunning(call.signal)) ? 'firewalld' : 'iptables');
  if (backend !== 'iptables' && backend !== 'firewalld') {
    throw invalidConfig(
      `backend must be "iptables" or "firewalld", not ${JSON.stringify(backend)}`,
    );
  }
  const policyName = config.get('ingressPolicy')?.string() || 'open';
  const policy = POLICIES.find((one) => one === policyName);
  if (policy === undefined) {
    throw invalidConfig(`unknown ingress policy: ${JSON.stringify(policyName)}`);
  }
  const adminChain = config.get('iptablesAdminChainName')?.string() || 'CNI-ADMIN';
  if (!/^[\w.-]{1,28}$/.test(adminChain)) {
    throw invalidConfig(`${JSON.stringify(adminChain)} is no name of a chain`);
  }
  const zone = config.get('firewalldZone')?.string() || 'trusted';
  if (!/^[\w.-]+$/.test(zone)) throw invalidConfig(`${JSON.stringify(zone)} is no name of a zone`);
  return { backend, policy, adminChain, zone };
}

/** Frames from port to port of a bridge pass iptables only if the kernel is told so. */
function requireBridgeFilter(ips: readonly Cidr[]): void {
  using host = NetworkNamespace.current();
  for (const { ip } of ips) {
    const sysctl = `net/bridge/bridge-nf-call-${isV4(ip) ? 'iptables' : 'ip6tables'}`;
    if (host.readSysctl(sysctl) === '1') continue;
    throw new CniError(
      CNI_ERROR.INTERNAL,
      `ingress policy "isolated" has no effect while ${sysctl.replaceAll('/', '.')} is not 1`,
      { details: 'load the kernel module br_netfilter, and set the sysctl' },
    );
  }
}

/** The bridge is the first interface of the plugin before. */
function bridgeOf(call: PluginCall, policy: IngressPolicy): string | undefined {
  if (policy === 'open') return undefined;
  const name = requirePrevResult(call).interfaces[0]?.name;
  if (name === undefined || !/^[^\s"'\\]{1,15}$/.test(name)) {
    throw invalidConfig(`ingress policy "${policy}" must be chained behind the bridge plugin`);
  }
  return name;
}
