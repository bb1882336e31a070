import { readdir, readlink } from 'node:fs/promises';
import { basename, join, normalize } from 'node:path';
import { ifExists } from '../../base/index.ts';
import { changeLink, formatMac, type Link, NetworkNamespace, parseMac } from '../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniResult,
  emptyResult,
  type Plugin,
  type PluginCall,
} from '../spec/index.ts';
import { checkAddressesAndRoutes, containerInterface } from './check-interface.ts';
import { configureInterface } from './configure-interface.ts';
import { readDns } from './dns.ts';
import { Ipam } from './ipam.ts';
import {
  checkFailed,
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
} from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';

const PCI_DEVICES = '/sys/bus/pci/devices';
/** Parts of a device which have a driver of their own: subfunctions of a card (`mlx5_core.sf.4`). */
const AUXILIARY_DEVICES = '/sys/bus/auxiliary/devices';
/** Drivers that keep a device for programs: the kernel has no link for it. */
const USERSPACE_DRIVERS = ['vfio-pci', 'uio_pci_generic', 'igb_uio'];

/** Moves a network device of the host into a container, and back. */
export function hostDevice(): Plugin {
  return definePlugin('host-device', {
    async add(call, delegates) {
      const selector = readSelector(call);
      const ipam = new Ipam(call, delegates);
      using host = NetworkNamespace.current();
      using pod = openPod(call);
      const link = (await isUserspace(selector))
        ? undefined
        : await moveIn(host, pod, await findDevice(host, selector), call.ifname);
      if (ipam.type === undefined) return resultOf(call, link, emptyResult());
      try {
        return await ipam.withAddresses(async (addresses) => {
          const result = resultOf(call, link, addresses);
          if (link !== undefined) {
            await configureInterface({ pod, ifname: call.ifname, result, signal: call.signal });
          }
          return result;
        });
      } catch (error) {
        if (link !== undefined) await moveOut(host, pod, call.ifname).catch(() => {});
        throw error;
      }
    },

    async del(call, delegates) {
      const selector = readSelector(call);
      using host = NetworkNamespace.current();
      using pod = openPodIfExists(call);
      // When the namespace is gone, the kernel has moved the device back by itself.
      const there = pod !== undefined && !(await isUserspace(selector));
      await new Ipam(call, delegates).releaseAfter(async () => {
        if (there) await moveOut(host, pod, call.ifname);
      });
    },

    async check(call, delegates) {
      const selector = readSelector(call);
      await new Ipam(call, delegates).check();
      const result = requirePrevResult(call);
      if (await isUserspace(selector)) return;
      using pod = openPod(call);
      const expected = containerInterface(result, call.ifname, call.netns);
      const link = await pod.findLink(call.ifname);
      if (link === undefined) throw checkFailed(`interface "${call.ifname}" not found`);
      if (expected.mac && expected.mac.toLowerCase() !== formatMac(link.mac)) {
        throw checkFailed(`interface "${call.ifname}" has address ${formatMac(link.mac)}`);
      }
      await checkAddressesAndRoutes(pod, call.ifname, result);
    },

    gc: (call, delegates) => new Ipam(call, delegates).gc(),
    status: (call, delegates) => new Ipam(call, delegates).status(),
  });
}

/** How the configuration names the device: the first of these that is set counts. */
interface Selector {
  readonly device: string | undefined;
  readonly mac: Buffer | undefined;
  readonly kernelPath: string | undefined;
  /** Its address on the PCI bus, or its name among the auxiliary devices. */
  readonly id: string | undefined;
}

function readSelector(call: PluginCall): Selector {
  const config = readConfig(call);
  const text = (key: string) => config.get(key)?.string() || undefined;
  const macText = text('hwaddr');
  const selector = {
    device: text('device'),
    mac: macText === undefined ? undefined : parseMac(macText),
    kernelPath: text('kernelpath'),
    id: config.get('runtimeConfig')?.get('deviceID')?.string() || text('pciBusID'),
  };
  if (macText !== undefined && selector.mac === undefined) {
    throw invalidConfig(`${JSON.stringify(macText)} is not a MAC address`);
  }
  if (Object.values(selector).every((value) => value === undefined)) {
    throw invalidConfig('specify either "device", "hwaddr", "kernelpath" or "pciBusID"');
  }
  const { kernelPath, id } = selector;
  if (kernelPath !== undefined && !normalize(kernelPath).startsWith('/sys/devices/')) {
    throw invalidConfig(`kernelpath ${JSON.stringify(kernelPath)} must begin with /sys/devices/`);
  }
  if (id !== undefined && !/^[\w.:-]+$/.test(id)) {
    throw invalidConfig(`${JSON.stringify(id)} is no PCI address`);
  }
  return selector;
}

async function isUserspace({ id }: Selector): Promise<boolean> {
  if (id === undefined) return false;
  const driver = await ifExists(readlink(join(PCI_DEVICES, id, 'driver')));
  return driver !== undefined && USERSPACE_DRIVERS.includes(basename(driver));
}

async function findDevice(host: NetworkNamespace, selector: Selector): Promise<Link> {
  const { device, mac, kernelPath, id } = selector;
  const found =
    device !== undefined
      ? await host.findLink(device)
      : mac !== undefined
        ? (await host.links()).find((link) => link.mac.equals(mac))
        : await linkIn(host, await netDirectory(kernelPath, id));
  if (found === undefined) throw new CniError(CNI_ERROR.INTERNAL, 'Cannot find the host device');
  return found;
}

/** The directory of sysfs that holds the device's links. */
async function netDirectory(
  kernelPath: string | undefined,
  id: string | undefined,
): Promise<string> {
  if (kernelPath !== undefined) return join(kernelPath, 'net');
  const device = join(PCI_DEVICES, id ?? '');
  const entries = await ifExists(readdir(device));
  if (entries === undefined) return join(AUXILIARY_DEVICES, id ?? '', 'net');
  const virtio = entries.find((name) => name.startsWith('virtio'));
  return entries.includes('net') || virtio === undefined
    ? join(device, 'net')
    : join(device, virtio, 'net');
}

async function linkIn(host: NetworkNamespace, directory: string): Promise<Link | undefined> {
  for (const name of (await ifExists(readdir(directory))) ?? []) {
    const link = await host.findLink(name);
    if (link !== undefined) return link;
  }
  return undefined;
}

/** Its name on the host is kept in the alias, for the way back. */
async function moveIn(
  host: NetworkNamespace,
  pod: NetworkNamespace,
  device: Link,
  ifname: string,
): Promise<Link> {
  if ((await pod.findLink(ifname)) !== undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, `Interface "${ifname}" already exists`);
  }
  // A link changes its name only while it is down; moving sets it down.
  await host.change(
    changeLink(device.index, { up: false }),
    changeLink(device.index, { namespace: pod.fd, name: ifname, alias: device.name }),
  );
  const moved = await pod.link(ifname);
  await pod.change(changeLink(moved.index, { up: true }));
  return pod.link(ifname);
}

async function moveOut(
  host: NetworkNamespace,
  pod: NetworkNamespace,
  ifname: string,
): Promise<void> {
  const link = await pod.findLink(ifname);
  if (link === undefined) return;
  const name = link.alias ?? '';
  if (name === '') {
    throw new CniError(
      CNI_ERROR.INTERNAL,
      `Interface "${ifname}" does not say its name on the host`,
    );
  }
  // The kernel moves it all the same, and then cannot rename it.
  if ((await host.findLink(name)) !== undefined) {
    throw new CniError(
      CNI_ERROR.INTERNAL,
      `Cannot move "${ifname}" back: the host has another "${name}"`,
    );
  }
  await pod.change(
    changeLink(link.index, { up: false }),
    changeLink(link.index, { namespace: host.fd, name, alias: '' }),
  );
}

/** A device without a link has addresses, which are for the program that drives it, and no interface. */
function resultOf(call: PluginCall, link: Link | undefined, addresses: CniResult): CniResult {
  const dns = readDns(readConfig(call).get('dns'));
  if (link === undefined) return { ...addresses, dns };
  const { name, mtu } = link;
  return {
    ...addresses,
    interfaces: [{ name, mac: formatMac(link.mac), mtu, sandbox: call.netns }],
    ips: addresses.ips.map((ip) => ({ ...ip, interface: 0 })),
    dns,
  };
}
