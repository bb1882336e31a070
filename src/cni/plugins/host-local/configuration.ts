import { formatIp, type Ip, isV4 } from '../../../base/index.ts';
import { type CniRoute, isAtLeast, type JsonReader, type PluginCall } from '../../spec/index.ts';
import { ipOf, readRoutes } from '../addresses.ts';
import { readArgs } from '../cni-args.ts';
import { invalidConfig, readConfig, staticArgs } from '../plugin-definition.ts';
import { checkRangeSets, type RangeSet, readRange } from './ranges.ts';

export interface HostLocalConfig {
  /** Directory of the network's addresses. */
  readonly directory: string;
  readonly sets: readonly RangeSet[];
  readonly routes: readonly CniRoute[];
  readonly resolvConf: string | undefined;
  /** Addresses that the caller wants. */
  readonly requested: readonly Ip[];
}

const DEFAULT_DATA_DIR = '/var/lib/cni/networks';

export function readHostLocalConfig(call: PluginCall): HostLocalConfig {
  const config = readConfig(call);
  const ipam = config.required('ipam');
  const sets = readRangeSets(config, ipam);
  checkRangeSets(sets);
  const v4 = sets.filter((set) => isV4(set[0]?.start ?? Buffer.alloc(4))).length;
  if (Math.max(v4, sets.length - v4) > 1 && !isAtLeast(call.config.cniVersion, '0.3.0')) {
    throw invalidConfig(
      `CNI version ${call.config.cniVersion} does not support more than 1 address per family`,
    );
  }
  return {
    directory: directoryOf(call),
    sets,
    routes: readRoutes(ipam.get('routes')),
    resolvConf: ipam.get('resolvConf')?.string() || undefined,
    requested: readRequested(call, config),
  };
}

/** Where the addresses of the call's network are kept. */
export function directoryOf(call: PluginCall): string {
  const dataDir = readConfig(call).required('ipam').get('dataDir')?.string() || DEFAULT_DATA_DIR;
  return `${dataDir}/${call.config.name}`;
}

/** The ranges of the runtime come first, then the single one in old form, then `ranges`. */
function readRangeSets(config: JsonReader, ipam: JsonReader): RangeSet[] {
  const sets = (reader: JsonReader | undefined) =>
    (reader?.items() ?? []).map((set) => set.items().map(readRange));
  return [
    ...sets(config.get('runtimeConfig')?.get('ipRanges')),
    ...(ipam.get('subnet') === undefined ? [] : [[readRange(ipam)]]),
    ...sets(ipam.get('ranges')),
  ];
}

/** CNI_ARGS `IP`, then `args.cni.ips`, then the capability `ips`, each address once. */
function readRequested(call: PluginCall, config: JsonReader): Ip[] {
  const arg = readArgs(call, ['IP']).get('IP');
  const texts = [
    ...(arg === undefined || arg === '' ? [] : [arg]),
    ...(staticArgs(config)?.get('ips')?.strings() ?? []),
    ...(config.get('runtimeConfig')?.get('ips')?.strings() ?? []),
  ];
  const ips = texts.map((text) => {
    try {
      return ipOf(text.split('/', 1)[0] ?? '');
    } catch {
      throw invalidConfig(`cannot understand requested address ${JSON.stringify(text)}`);
    }
  });
  return [...new Map(ips.map((ip) => [formatIp(ip), ip])).values()];
}
