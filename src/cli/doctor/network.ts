import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, messageOf } from '../../base/index.ts';
import type { Config } from '../../config/index.ts';
import { findProgram } from '../../linux/index.ts';
import { type Finding, missing, note, ok } from './finding.ts';
import type { Installer } from './packages.ts';

/** What the embedded default network is made of. */
const DEFAULT_PLUGINS = ['bridge', 'host-local', 'portmap', 'loopback'];

export interface NetworkSearch {
  readonly config: Config;
  /** Plugins that need no program. */
  readonly builtinPlugins: readonly string[];
  readonly install: Installer;
}

/** The network configuration and the plugins that it names. */
export async function networkFindings(search: NetworkSearch): Promise<Finding[]> {
  const { config } = search;
  const { confDir, defaultNetwork } = config.cni;
  const names = ((await ifExists(readdir(confDir))) ?? [])
    .filter((name) => /\.(conf|conflist|json)$/.test(name))
    .sort();
  const [first] = names;
  if (first !== undefined) return configFindings(join(confDir, first), search);
  if (defaultNetwork) {
    return [
      ok('network', 'the embedded bridge network'),
      ...pluginFindings(DEFAULT_PLUGINS, search),
    ];
  }
  const remedy = `put a CNI configuration into ${confDir}, or use --default-network`;
  const detail = `no configuration in ${confDir}: only pods on the host's network run`;
  return [note('network', detail, remedy)];
}

async function configFindings(path: string, search: NetworkSearch): Promise<Finding[]> {
  let types: string[];
  let name: string;
  try {
    const network: unknown = JSON.parse(await readFile(path, 'utf8'));
    ({ name, types } = networkOf(network));
  } catch (error) {
    return [missing('network', `${path}: ${messageOf(error)}`, 'correct the file')];
  }
  return [
    ok('network', `"${name}" of ${path}: ${types.join(', ')}`),
    ...pluginFindings([...new Set(types)], search),
  ];
}

/** The name of a network and the types of its plugins, of IPAM too. */
function networkOf(value: unknown): { name: string; types: string[] } {
  const network = table(value);
  const plugins = Array.isArray(network['plugins']) ? network['plugins'] : [network];
  const types = plugins.flatMap((plugin: unknown) => {
    const { type, ipam } = table(plugin);
    if (typeof type !== 'string') throw new Error('a plugin has no type');
    const inner = table(ipam ?? {})['type'];
    return typeof inner === 'string' ? [type, inner] : [type];
  });
  const name = network['name'];
  if (typeof name !== 'string') throw new Error('the network has no name');
  return { name, types };
}

function table(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new Error('it is no JSON object');
}

function pluginFindings(types: readonly string[], search: NetworkSearch): Finding[] {
  const { config, builtinPlugins, install } = search;
  const binDirs = [config.cni.overrideDir, ...config.cni.binDirs];
  const isThere = (type: string) =>
    !type.includes('/') && findProgram(type, binDirs.join(':')) !== undefined;
  const absent = types.filter((type) => !builtinPlugins.includes(type) && !isThere(type));
  if (absent.length === 0) return [ok('network plugins', types.join(', '))];
  const detail = `${absent.join(', ')} not in ${binDirs.join(', ')}`;
  return [missing('network plugins', detail, install('containernetworking-plugins'))];
}
