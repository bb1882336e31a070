import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, messageOf } from '../../base/index.ts';
import type { Config } from '../../config/index.ts';
import { findProgram } from '../../linux/index.ts';
import { type Finding, missing, note, ok } from './finding.ts';
import type { Installer } from './packages.ts';

/** What the embedded default network is made of. */
const DEFAULT_PLUGINS = ['bridge', 'host-local', 'portmap', 'loopback'];

/** The network configuration and the plugins that it names. */
export async function networkFindings(config: Config, install: Installer): Promise<Finding[]> {
  const { confDir, defaultNetwork } = config.cni;
  const names = ((await ifExists(readdir(confDir))) ?? [])
    .filter((name) => /\.(conf|conflist|json)$/.test(name))
    .sort();
  const [first] = names;
  if (first !== undefined) return configFindings(join(confDir, first), config, install);
  if (defaultNetwork) {
    return [
      ok('network', 'the embedded bridge network'),
      ...(await pluginFindings(DEFAULT_PLUGINS, config, install)),
    ];
  }
  const remedy = `put a CNI configuration into ${confDir}, or use --default-network`;
  const detail = `no configuration in ${confDir}: only pods on the host's network run`;
  return [note('network', detail, remedy)];
}

async function configFindings(
  path: string,
  config: Config,
  install: Installer,
): Promise<Finding[]> {
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
    ...(await pluginFindings([...new Set(types)], config, install)),
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

async function pluginFindings(
  types: readonly string[],
  config: Config,
  install: Installer,
): Promise<Finding[]> {
  const { binDirs } = config.cni;
  const absent: string[] = [];
  for (const type of types) {
    if (type.includes('/') || (await findProgram(type, binDirs.join(':'))) === undefined) {
      absent.push(type);
    }
  }
  if (absent.length === 0) return [ok('network plugins', types.join(', '))];
  const detail = `${absent.join(', ')} not in ${binDirs.join(', ')}`;
  return [missing('network plugins', detail, install('containernetworking-plugins'))];
}
