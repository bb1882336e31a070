import { KeyedLock } from '../../base/index.ts';
import type { Plugin } from '../spec/index.ts';

/**
 * Where each built-in plugin is, so that a program loads its own alone. One process does
 * one call: the locks that keep the calls of a daemon apart have nothing to do here, and
 * what processes must not do at once the plugins keep apart by flock(2) and the kernel.
 */
const MODULES: Readonly<Record<string, () => Promise<Plugin>>> = {
  bandwidth: async () => (await import('../plugins/bandwidth.ts')).bandwidth(),
  bridge: async () => (await import('../plugins/bridge/bridge.ts')).bridge(new KeyedLock()),
  dummy: async () => (await import('../plugins/dummy.ts')).dummy(),
  firewall: async () => (await import('../plugins/firewall/firewall.ts')).firewall(),
  flannel: async () => (await import('../plugins/flannel.ts')).flannel(),
  'host-device': async () => (await import('../plugins/host-device.ts')).hostDevice(),
  'host-local': async () => (await import('../plugins/host-local/host-local.ts')).hostLocal(),
  ipvlan: async () => (await import('../plugins/ipvlan.ts')).ipvlan(),
  loopback: async () => (await import('../plugins/loopback.ts')).loopback(),
  macvlan: async () => (await import('../plugins/macvlan.ts')).macvlan(),
  portmap: async () => (await import('../plugins/portmap/portmap.ts')).portmap(new KeyedLock()),
  ptp: async () => (await import('../plugins/ptp.ts')).ptp(new KeyedLock()),
  sbr: async () => (await import('../plugins/sbr.ts')).sbr(),
  static: async () => (await import('../plugins/static.ts')).staticIpam(),
  tap: async () => (await import('../plugins/tap.ts')).tap(),
  tuning: async () => (await import('../plugins/tuning.ts')).tuning(),
  vlan: async () => (await import('../plugins/vlan.ts')).vlan(),
  vrf: async () => (await import('../plugins/vrf.ts')).vrf(),
};

/** The types of the plugins that can be programs. */
export const PROGRAM_TYPES: readonly string[] = Object.keys(MODULES).sort();

/** The built-in plugin of that type, undefined if there is none. */
export async function loadPlugin(type: string): Promise<Plugin | undefined> {
  return Object.hasOwn(MODULES, type) ? MODULES[type]?.() : undefined;
}
