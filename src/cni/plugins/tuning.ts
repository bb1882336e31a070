import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readTextIfExists, writeFileAtomic } from '../../base/index.ts';
import {
  changeLink,
  formatMac,
  type Link,
  type LinkSettings,
  type NetworkNamespace,
  parseMac,
} from '../../linux/index.ts';
import {
  CNI_ERROR,
  CniError,
  type CniResult,
  type JsonReader,
  type Plugin,
  type PluginCall,
} from '../spec/index.ts';
import { readArgs } from './cni-args.ts';
import {
  checkFailed,
  definePlugin,
  invalidConfig,
  readConfig,
  requirePrevResult,
  staticArgs,
} from './plugin-definition.ts';
import { openPod, openPodIfExists } from './pod-namespace.ts';

const DEFAULT_DATA_DIR = '/run/cni/tuning';
/** Patterns, one on a line, of the sysctls that may be set; without the file all may. */
const ALLOW_LIST = '/etc/cni/tuning/allowlist.conf';

interface TuningConfig {
  /** Values by path below /proc/sys. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** Their names as the configuration has them. */
  readonly sysctlKeys: readonly string[];
  readonly mac: Buffer | undefined;
  readonly promisc: boolean;
  readonly mtu: number;
  readonly txQueueLength: number | undefined;
  readonly allMulticast: boolean | undefined;
  /** Where it stands what the interface was like before. */
  readonly backup: string;
}

/** Changes sysctls and settings of an interface that another plugin made. */
export function tuning(): Plugin {
  return definePlugin('tuning', {
    async add(call) {
      const config = readTuningConfig(call);
      await checkAllowed(config.sysctlKeys);
      const result = structuredClone(requirePrevResult(call));
      using pod = openPod(call);
      setSysctls(pod, config.sysctls);
      const settings = settingsOf(config);
      if (Object.keys(settings).length === 0) return result;
      const link = await pod.link(call.ifname);
      await saveBackup(config, link);
      await pod.change(changeLink(link.index, settings));
      return updated(result, call, config);
    },

    async del(call) {
      const config = readTuningConfig(call);
      using pod = openPodIfExists(call);
      const saved = await readTextIfExists(config.backup);
      const link = await pod?.findLink(call.ifname);
      if (saved !== undefined && pod !== undefined && link !== undefined) {
        await pod.change(changeLink(link.index, parseBackup(saved)));
      }
      await rm(config.backup, { force: true });
    },

    async check(call) {
      const config = readTuningConfig(call);
      requirePrevResult(call);
      using pod = openPod(call);
      for (const [key, value] of Object.entries(config.sysctls)) {
        const present = pod.readSysctl(key);
        if (present !== value) throw checkFailed(`sysctl "${key}" is "${present}", not "${value}"`);
      }
      const link = await pod.findLink(call.ifname);
      if (link === undefined) throw checkFailed(`interface "${call.ifname}" not found`);
      checkSettings(link, config);
    },
  });
}

/** What is in `args.cni` goes before what the runtime and the configuration say. */
function readTuningConfig(call: PluginCall): TuningConfig {
  const config = readConfig(call);
  const args = staticArgs(config);
  const both = (key: string) => args?.get(key) ?? config.get(key);
  const macText =
    args?.get('mac')?.string() ||
    config.get('runtimeConfig')?.get('mac')?.string() ||
    readArgs(call, ['MAC']).get('MAC') ||
    config.get('mac')?.string();
  const mac = macText ? parseMac(macText) : undefined;
  if (macText && mac === undefined) {
    throw invalidConfig(`${JSON.stringify(macText)} is not a MAC address`);
  }
  const sysctls = { ...readSysctls(config.get('sysctl')), ...readSysctls(args?.get('sysctl')) };
  const dataDir = config.get('dataDir')?.string() || DEFAULT_DATA_DIR;
  return {
    sysctls: Object.fromEntries(
      Object.entries(sysctls).map(([key, value]) => [sysctlPath(key, call.ifname), value]),
    ),
    sysctlKeys: Object.keys(sysctls),
    mac,
    promisc: both('promisc')?.boolean() ?? false,
    mtu: both('mtu')?.integer(0, 0x7fffffff) ?? 0,
    txQueueLength: both('txQLen')?.integer(0, 0x7fffffff),
    allMulticast: both('allmulti')?.boolean(),
    backup: join(dataDir, `${call.containerId}_${call.ifname}.json`),
  };
}

function readSysctls(reader: JsonReader | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.keys(reader?.record() ?? {}).map((key) => [key, reader?.required(key).string() ?? '']),
  );
}

/** `net.ipv4.conf.IFNAME.arp_filter` as a path below /proc/sys. */
function sysctlPath(key: string, ifname: string): string {
  const path = key.replaceAll('.', '/').replace('IFNAME', ifname);
  if (!path.startsWith('net/') || path.includes('//') || path.endsWith('/')) {
    throw invalidConfig(`invalid net sysctl key: ${JSON.stringify(key)}`);
  }
  return path;
}

/** The list speaks of names as configurations have them: of IFNAME, not of the interface. */
async function checkAllowed(keys: readonly string[]): Promise<void> {
  const list = await readTextIfExists(ALLOW_LIST);
  if (list === undefined) return;
  const patterns = list
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => new RegExp(line));
  for (const key of keys) {
    if (patterns.some((pattern) => pattern.test(key))) continue;
    throw new CniError(CNI_ERROR.INVALID_CONFIG, `Sysctl "${key}" is not allowed`, {
      details: `"${ALLOW_LIST}" does not have it`,
    });
  }
}

function setSysctls(pod: NetworkNamespace, sysctls: Readonly<Record<string, string>>): void {
  const [missing] = pod.writeSysctls(sysctls);
  if (missing !== undefined) {
    throw new CniError(CNI_ERROR.INTERNAL, `This kernel has no sysctl "${missing}"`);
  }
}

function settingsOf(config: TuningConfig): LinkSettings {
  return {
    ...(config.mac === undefined ? {} : { mac: config.mac }),
    ...(config.promisc ? { promiscuous: true } : {}),
    ...(config.mtu === 0 ? {} : { mtu: config.mtu }),
    ...(config.txQueueLength === undefined ? {} : { txQueueLength: config.txQueueLength }),
    ...(config.allMulticast === undefined ? {} : { allMulticast: config.allMulticast }),
  };
}

/** The file has the form of the reference plugin: only what is going to be changed. */
async function saveBackup(config: TuningConfig, link: Link): Promise<void> {
  await mkdir(join(config.backup, '..'), { recursive: true, mode: 0o700 });
  const saved = {
    ...(config.mac === undefined ? {} : { mac: formatMac(link.mac) }),
    ...(config.promisc ? { promisc: link.promiscuous } : {}),
    ...(config.mtu === 0 ? {} : { mtu: link.mtu }),
    ...(config.txQueueLength === undefined ? {} : { txQLen: link.txQueueLength }),
    ...(config.allMulticast === undefined ? {} : { allmulti: link.allMulticast }),
  };
  await writeFileAtomic(config.backup, JSON.stringify(saved, undefined, ' '));
}

/** A file that makes no sense restores nothing: DEL must go on. */
function parseBackup(text: string): LinkSettings {
  let saved: Record<string, unknown>;
  try {
    saved = JSON.parse(text);
  } catch {
    return {};
  }
  const { mac, promisc, mtu, txQLen, allmulti } = saved;
  const address = typeof mac === 'string' ? parseMac(mac) : undefined;
  return {
    ...(address === undefined ? {} : { mac: address }),
    ...(typeof promisc === 'boolean' ? { promiscuous: promisc } : {}),
    ...(typeof mtu === 'number' ? { mtu } : {}),
    ...(typeof txQLen === 'number' ? { txQueueLength: txQLen } : {}),
    ...(typeof allmulti === 'boolean' ? { allMulticast: allmulti } : {}),
  };
}

function updated(result: CniResult, call: PluginCall, config: TuningConfig): CniResult {
  for (const one of result.interfaces) {
    if (one.name !== call.ifname) continue;
    if (config.mac !== undefined) one.mac = formatMac(config.mac);
    if (config.mtu !== 0 && one.mtu !== undefined) one.mtu = config.mtu;
  }
  return result;
}

function checkSettings(link: Link, config: TuningConfig): void {
  const expect = (what: string, present: unknown, wanted: unknown) => {
    if (wanted === undefined || present === wanted) return;
    throw checkFailed(`${what} of "${link.name}" is ${present}, not ${wanted}`);
  };
  expect('address', formatMac(link.mac), config.mac && formatMac(config.mac));
  expect('promiscuous mode', link.promiscuous, config.promisc);
  expect('MTU', link.mtu, config.mtu === 0 ? undefined : config.mtu);
  expect('queue length', link.txQueueLength, config.txQueueLength);
  expect('all-multicast mode', link.allMulticast, config.allMulticast);
}
