import { errnoOf } from '../../base/index.ts';
import { changeLink, formatMac, type Link, NetworkNamespace } from '../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniResult,
  emptyResult,
  type Plugin,
  type PluginCall,
} from '../spec/index.ts';
import { checkAddressesAndRoutes, checkLink, containerInterface } from './check-interface.ts';
import { configureInterface } from './configure-interface.ts';
import { readDns } from './dns.ts';
import { Ipam } from './ipam.ts';
import { definePlugin, invalidConfig, readConfig, requirePrevResult } from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';
import { deleteLinkIfExists } from './veth.ts';

export interface PodLinkPlace {
  readonly call: PluginCall;
  readonly host: NetworkNamespace;
  readonly pod: NetworkNamespace;
}

/** A plugin that gives a container one link, which has no other end to be looked after. */
export interface PodLinkPlugin {
  readonly type: string;
  /** The kind of the link as the kernel names it. */
  readonly kind: string;
  readonly ipam: 'required' | 'optional';
  /** Makes the link under its name in the container's namespace, down. */
  create(place: PodLinkPlace): Promise<void>;
  /** Sysctls of the interface, `IFNAME` standing for it, set before it has addresses. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** Addresses to use when there is no IPAM. */
  withoutIpam?(call: PluginCall): CniResult | undefined;
  /** What CHECK looks at besides the kind, addresses and routes. */
  check?(link: Link, place: PodLinkPlace): Promise<void>;
}

export function podLinkPlugin(plugin: PodLinkPlugin): Plugin {
  return definePlugin(plugin.type, {
    async add(call, delegates) {
      const ipam = new Ipam(call, delegates);
      const chained = ipam.type === undefined ? plugin.withoutIpam?.(call) : undefined;
      if (plugin.ipam === 'required' && ipam.type === undefined && chained === undefined) {
        throw invalidConfig(`${plugin.type} needs an IPAM plugin`);
      }
      using host = NetworkNamespace.current();
      using pod = openPod(call);
      const place = { call, host, pod };
      await create(plugin, place);
      try {
        if (ipam.type !== undefined) {
          return await ipam.withAddresses((result) => configure(plugin, place, result));
        }
        return await configure(plugin, place, chained ?? emptyResult());
      } catch (error) {
        await deleteLinkIfExists(pod, call.ifname).catch(() => {});
        throw error;
      }
    },

    async del(call, delegates) {
      using pod = openPodIfExists(call);
      await new Ipam(call, delegates).releaseAfter(async () => {
        if (pod !== undefined) await deleteLinkIfExists(pod, call.ifname);
      });
    },

    async check(call, delegates) {
      await new Ipam(call, delegates).check();
      const result = requirePrevResult(call);
      using host = NetworkNamespace.current();
      using pod = openPod(call);
      const expected = containerInterface(result, call.ifname, call.netns);
      const link = await checkLink(pod, expected, plugin.kind);
      await plugin.check?.(link, { call, host, pod });
      await checkAddressesAndRoutes(pod, call.ifname, result);
    },

    gc: (call, delegates) => new Ipam(call, delegates).gc(),
    status: (call, delegates) => new Ipam(call, delegates).status(),
  });
}

async function create(plugin: PodLinkPlugin, place: PodLinkPlace): Promise<void> {
  const { call, pod } = place;
  // It must be known whether a link that is there after a failure is ours to delete.
  if ((await pod.findLink(call.ifname)) !== undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, `Interface "${call.ifname}" already exists`);
  }
  try {
    await plugin.create(place);
  } catch (error) {
    if (errnoOf(error) === 'ENOTSUP') {
      throw new CniError(CNI_ERROR.INTERNAL, `Cannot create ${plugin.kind} "${call.ifname}"`, {
        cause: error,
        details: `this kernel has no links of kind ${plugin.kind}`,
      });
    }
    throw error;
  }
}

async function configure(
  plugin: PodLinkPlugin,
  { call, pod }: PodLinkPlace,
  result: CniResult,
): Promise<CniResult> {
  const link = await pod.link(call.ifname);
  const { name, mtu } = link;
  const ips = result.ips.map((ip) => ({ ...ip, interface: 0 }));
  const mac = formatMac(link.mac);
  const interfaces = [{ name, mac, mtu, sandbox: call.netns }];
  const configured = { ...result, interfaces, ips, dns: readDns(readConfig(call).get('dns')) };
  if (ips.length === 0) {
    await pod.change(changeLink(link.index, { up: true }));
    return configured;
  }
  pod.writeSysctls(
    Object.fromEntries(
      Object.entries(plugin.sysctls).map(([key, value]) => [key.replace('IFNAME', name), value]),
    ),
  );
  await configureInterface({ pod, ifname: call.ifname, result: configured, signal: call.signal });
  return configured;
}
