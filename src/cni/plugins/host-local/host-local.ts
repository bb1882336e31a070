import { formatCidr, formatIp, type Ip } from '../../../base/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniIp,
  type CniResult,
  emptyResult,
  type Plugin,
  type PluginCall,
} from '../../spec/index.ts';
import { cidrOf } from '../addresses.ts';
import { readResolvConf } from '../dns.ts';
import { checkFailed, definePlugin } from '../plugin-definition.ts';
import { directoryOf, type HostLocalConfig, readHostLocalConfig } from './configuration.ts';
import {
  type Allocatable,
  allocatable,
  candidates,
  formatRangeSet,
  isInRange,
  type RangeSet,
} from './ranges.ts';
import { AddressStore, AddressStores } from './store.ts';

/** IPAM that gives out addresses of ranges on this host, remembered in files. */
export function hostLocal(): Plugin {
  const stores = new AddressStores();
  return definePlugin('host-local', {
    async add(call) {
      const config = readHostLocalConfig(call);
      const dns = config.resolvConf === undefined ? {} : await readResolvConf(config.resolvConf);
      await using store = await AddressStore.open(config.directory, stores, call.signal);
      const ips = allocateAll(store, config, call);
      return { ...emptyResult(), ips, routes: [...config.routes], dns } satisfies CniResult;
    },

    async del(call) {
      const config = readHostLocalConfig(call);
      await using store = await AddressStore.open(config.directory, stores, call.signal);
      // Usually the result says which files there are, and no other needs to be read.
      const known = (call.config.prevResult?.ips ?? []).map((ip) => cidrOf(ip.address).ip);
      const released = known.filter((ip) => store.releaseOne(ip, call)).length;
      if (released < config.sets.length) store.release(call);
    },

    async check(call) {
      const config = readHostLocalConfig(call);
      await using store = await AddressStore.open(config.directory, stores, call.signal);
      if (store.addressesOf(call).length === 0) {
        throw checkFailed(`host-local has no address of container "${call.containerId}"`);
      }
    },

    async gc(call) {
      await using store = await AddressStore.open(directoryOf(call), stores, call.signal);
      const valid = call.config['cni.dev/valid-attachments'] ?? [];
      store.releaseUnless(({ containerId, ifname }) =>
        valid.some(
          (one) => one.containerID === containerId && (ifname === '' || one.ifname === ifname),
        ),
      );
    },
  });
}

/** One address of each range set, or none at all. */
function allocateAll(store: AddressStore, config: HostLocalConfig, call: PluginCall): CniIp[] {
  const requested = new Set(config.requested);
  const taken: Allocatable[] = [];
  try {
    config.sets.forEach((set, index) => {
      const wanted = [...requested].find((ip) => set.some((range) => isInRange(range, ip)));
      if (wanted !== undefined) requested.delete(wanted);
      taken.push(
        wanted === undefined
          ? allocateNext({ store, set, index, call })
          : allocateRequested({ store, set, index, call }, wanted),
      );
    });
    if (requested.size > 0) {
      throw failure(
        `no range has the requested addresses ${[...requested].map(formatIp).join(', ')}`,
      );
    }
  } catch (error) {
    for (const { address } of taken) store.releaseOne(address.ip, call);
    throw error;
  }
  return taken.map(({ address, gateway }) => ({
    address: formatCidr(address),
    gateway: formatIp(gateway),
  }));
}

interface Allocation {
  readonly store: AddressStore;
  readonly set: RangeSet;
  readonly index: number;
  readonly call: PluginCall;
}

function allocateNext({ store, set, index, call }: Allocation): Allocatable {
  const before = store.addressesOf(call).find((ip) => set.some((range) => isInRange(range, ip)));
  if (before !== undefined) {
    throw failure(
      `${formatIp(before)} has been allocated to "${call.containerId}" before, duplicate allocation is not allowed`,
    );
  }
  for (const candidate of candidates(set, store.lastReserved(index))) {
    if (store.reserve(candidate.address.ip, call, index)) return candidate;
  }
  throw failure(`no IP addresses available in range set ${index}: ${formatRangeSet(set)}`);
}

function allocateRequested({ store, set, index, call }: Allocation, ip: Ip): Allocatable {
  const range = set.find((one) => isInRange(one, ip));
  if (range === undefined) throw failure(`${formatIp(ip)} is not in range set ${index}`);
  if (ip.equals(range.gateway))
    throw failure(`requested IP ${formatIp(ip)} is the subnet's gateway`);
  if (!store.reserve(ip, call, index)) {
    throw failure(
      `requested IP address ${formatIp(ip)} is not available in ${formatRangeSet(set)}`,
    );
  }
  return allocatable(range, ip);
}

function failure(message: string): CniError {
  return new CniError(CNI_ERROR.INTERNAL, `host-local: ${message}`);
}
