import { type KeyedLock, sleep } from '../../../base/index.ts';
import { changeLink, formatMac, type Link, NetworkNamespace } from '../../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniInterface,
  type CniResult,
  emptyResult,
  type Plugin,
  type PluginCall,
  type PluginInvoker,
} from '../../spec/index.ts';
import { cidrOf } from '../addresses.ts';
import { checkAddressesAndRoutes, checkLink, containerInterface } from '../check-interface.ts';
import { configureInterface } from '../configure-interface.ts';
import { hasDns } from '../dns.ts';
import { enableForwarding } from '../forwarding.ts';
import { Ipam } from '../ipam.ts';
import { Masquerade } from '../masquerade.ts';
import { checkFailed, definePlugin, requirePrevResult } from '../plugin-definition.ts';
import { openPod, openPodIfExists } from '../pod-namespace.ts';
import { createVeth, deleteLinkIfExists } from '../veth.ts';
import { type BridgeConfig, readBridgeConfig } from './configuration.ts';
import { completeGateways } from './gateways.ts';
import {
  configurePort,
  ensureBridge,
  ensureGatewayAddress,
  ensureVlanInterface,
} from './host-bridge.ts';
import { addSpoofCheck, removeSpoofCheck } from './spoof-check.ts';

/** How long the port of a container may take to come up, in milliseconds. */
const PORT_TIMEOUT = 2500;

/** Index of the container's interface in the result: bridge, host's end, container's end. */
const CONTAINER = 2;

/** Connects a container to a bridge on the host. */
export function bridge(turns: KeyedLock): Plugin {
  return definePlugin('bridge', {
    add: (call, delegates) => add(call, delegates, turns),

    async del(call, delegates) {
      const config = readBridgeConfig(call);
      using host = NetworkNamespace.current();
      using pod = openPodIfExists(call);
      const ipam = new Ipam(call, delegates);
      await ipam.releaseAfter(async () => {
        await Promise.all([
          pod === undefined ? undefined : deleteLinkIfExists(pod, call.ifname),
          ipam.type === undefined ? undefined : new Masquerade(call, { host, turns }).remove(),
        ]);
        if (config.macSpoofCheck) await removeSpoofCheck(host, call);
      });
    },

    check: (call, delegates) => check(call, delegates, turns),

    async gc(call, delegates) {
      using host = NetworkNamespace.current();
      await new Masquerade(call, { host, turns }).gc();
      await new Ipam(call, delegates).gc();
    },

    status: (call, delegates) => new Ipam(call, delegates).status(),
  });
}

/** What is made on the way to a result. */
interface Making {
  readonly call: PluginCall;
  readonly turns: KeyedLock;
  readonly config: BridgeConfig;
  readonly host: NetworkNamespace;
  readonly pod: NetworkNamespace;
  readonly bridge: Link;
  readonly veth: { host: Link; pod: Link };
  readonly interfaces: CniInterface[];
}

async function add(
  call: PluginCall,
  delegates: PluginInvoker,
  turns: KeyedLock,
): Promise<CniResult> {
  const config = readBridgeConfig(call);
  const ipam = new Ipam(call, delegates);
  using host = NetworkNamespace.current();
  using pod = openPod(call);
  const link = await ensureBridge(host, config);
  const { ifname, netns } = call;
  const { mtu, mac } = config;
  const veth = await createVeth({ host, pod, ifname, mtu, mac, master: link.index });
  await configurePort(host, veth.host, config);
  const interfaces = [
    { name: link.name },
    { name: veth.host.name },
    { name: ifname, sandbox: netns },
  ];
  const making: Making = { call, turns, config, host, pod, bridge: link, veth, interfaces };
  if (config.macSpoofCheck) {
    await addSpoofCheck(host, call, { name: veth.host.name, mac: veth.pod.mac });
  }
  if (ipam.type === undefined) {
    if (!config.disableContainerInterface)
      await pod.change(changeLink(veth.pod.index, { up: true }));
    return await finish(making, emptyResult());
  }
  return await ipam.withAddresses(async (result) => {
    await configureLayer3(making, result);
    return finish(making, result);
  });
}

async function configureLayer3(making: Making, result: CniResult): Promise<void> {
  const { call, turns, config, host, pod } = making;
  const gateways = completeGateways(result, config, CONTAINER);
  result.interfaces = making.interfaces;
  const ipv6 = `net/ipv6/conf/${call.ifname}`;
  pod.writeSysctls({
    ...(config.enableDad
      ? { [`${ipv6}/enhanced_dad`]: '1', [`${ipv6}/accept_dad`]: '1' }
      : { [`${ipv6}/accept_dad`]: '0' }),
    [`net/ipv4/conf/${call.ifname}/arp_notify`]: '1',
  });
  await configureInterface({ pod, ifname: call.ifname, result, signal: call.signal });
  if (gateways.length > 0) {
    const at = config.vlan === 0 ? making.bridge : await vlanGateway(making);
    for (const gateway of gateways) {
      await ensureGatewayAddress(host, at, gateway, config.forceAddress);
    }
    enableForwarding(
      host,
      gateways.map(({ ip }) => ip),
    );
  }
  await new Masquerade(call, { host, turns }).add(result.ips.map((ip) => cidrOf(ip.address)));
}

async function vlanGateway(making: Making): Promise<Link> {
  const link = await ensureVlanInterface(making.host, making.bridge, making.config);
  making.interfaces.push({ name: link.name, mac: formatMac(link.mac), mtu: link.mtu });
  return link;
}

/** Waits for the port and completes the result with what the links are now. */
async function finish(making: Making, result: CniResult): Promise<CniResult> {
  const { call, config, host, pod, interfaces } = making;
  const port = config.disableContainerInterface
    ? await host.link(making.veth.host.index)
    : await portUp(making);
  const links = [
    await host.link(making.bridge.index),
    port,
    config.mac === undefined ? making.veth.pod : await pod.link(making.veth.pod.index),
  ];
  links.forEach((link, i) => {
    const entry = interfaces[i];
    if (entry === undefined) return;
    entry.mac = formatMac(link.mac);
    if (i > 0) entry.mtu = link.mtu;
  });
  call.signal.throwIfAborted();
  return { ...result, interfaces, dns: hasDns(config.dns) ? config.dns : result.dns };
}

async function portUp({ host, veth, call }: Making): Promise<Link> {
  const deadline = Date.now() + PORT_TIMEOUT;
  for (let pause = 1; ; pause = Math.min(100, pause * 2)) {
    const link = await host.link(veth.host.index);
    if (link.operationalState === 'up') return link;
    if (Date.now() > deadline) {
      throw new CniError(
        CNI_ERROR.INTERNAL,
        `Bridge port "${link.name}" in error state: ${link.operationalState}`,
      );
    }
    await sleep(pause, call.signal);
  }
}

async function check(call: PluginCall, delegates: PluginInvoker, turns: KeyedLock): Promise<void> {
  const config = readBridgeConfig(call);
  await new Ipam(call, delegates).check();
  const result = requirePrevResult(call);
  using host = NetworkNamespace.current();
  using pod = openPod(call);
  const named = result.interfaces.find((one) => one.name === config.bridge && !one.sandbox);
  if (named === undefined) throw checkFailed(`prevResult has no bridge "${config.bridge}"`);
  const bridgeLink = await checkLink(host, named, 'bridge');
  if (config.promiscMode && !bridgeLink.promiscuous) {
    throw checkFailed(`bridge "${config.bridge}" is not promiscuous`);
  }
  const inner = await checkLink(pod, containerInterface(result, call.ifname, call.netns), 'veth');
  const ports = (await host.links()).filter((link) => link.kind === 'veth');
  const peer = ports.find((link) => link.index === inner.parent && link.parent === inner.index);
  if (peer === undefined || peer.master !== bridgeLink.index) {
    throw checkFailed(`"${call.ifname}" is not connected to bridge "${config.bridge}"`);
  }
  const ips = result.ips.filter((ip) => ip.interface === undefined || ip.interface === CONTAINER);
  await checkAddressesAndRoutes(pod, call.ifname, { ips, routes: result.routes });
  await new Masquerade(call, { host, turns }).check(ips.map((ip) => cidrOf(ip.address)));
}
