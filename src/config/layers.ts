import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { ifExists, messageOf } from '../base/index.ts';
import { type Setting, settings } from './settings.ts';
import { lineOfKey } from './toml-lines.ts';

export type Table = Record<string, unknown>;

/** Settings from one place, in snake case. Later layers win. */
export interface Layer {
  readonly values: Table;
  /** Where a value came from, such as `/etc/keelson/config.toml:7`. */
  origin(path: readonly PropertyKey[]): string;
}

/** The flags of `keelson serve` that stand for settings. */
export interface ConfigFlags {
  root?: string;
  state?: string;
  listen?: string[];
  imageListen?: string;
  cniConfDir?: string;
  /** Directories, separated by `:`. */
  cniBinDir?: string;
  /** Directories, separated by `:`. */
  registryConfigDir?: string;
  defaultNetwork?: boolean;
  streamAddress?: string;
  streamPort?: string;
  logLevel?: string;
}

const KEY_OF_FLAG: Record<keyof ConfigFlags, readonly [key: string, flag: string]> = {
  root: ['root', '--root'],
  state: ['state', '--state'],
  listen: ['listen', '--listen'],
  imageListen: ['image_listen', '--image-listen'],
  cniConfDir: ['cni.conf_dir', '--cni-conf-dir'],
  cniBinDir: ['cni.bin_dirs', '--cni-bin-dir'],
  registryConfigDir: ['images.registry_config_dirs', '--registry-config-dir'],
  defaultNetwork: ['cni.default_network', '--default-network'],
  streamAddress: ['streaming.address', '--stream-address'],
  streamPort: ['streaming.port', '--stream-port'],
  logLevel: ['log.level', '--log-level'],
};

/** Variables of the KEELSON_ family that are no settings. */
const OTHER_VARIABLES = new Set([
  'KEELSON_CONFIG',
  'KEELSON_SOCKET',
  'KEELSON_NODE',
  'KEELSON_FAULT_POINT',
]);

/** The file and its drop-ins, `FILE.d/*.toml` in the order of their names. */
export async function fileLayers(
  file: string,
  mustExist: boolean,
  problems: string[],
): Promise<Layer[]> {
  const dropIns = (await ifExists(readdir(`${file}.d`))) ?? [];
  const paths = dropIns.filter((name) => name.endsWith('.toml')).sort();
  const layers: Layer[] = [];
  for (const path of [file, ...paths.map((name) => join(`${file}.d`, name))]) {
    const layer = await fileLayer(path, mustExist || path !== file, problems);
    if (layer !== undefined) layers.push(layer);
  }
  return layers;
}

async function fileLayer(
  path: string,
  mustExist: boolean,
  problems: string[],
): Promise<Layer | undefined> {
  try {
    const reading = readFile(path, 'utf8');
    const text = await (mustExist ? reading : ifExists(reading));
    if (text === undefined) return undefined;
    const origin = (key: readonly PropertyKey[]) => {
      const line = lineOfKey(text, key);
      return line === undefined ? path : `${path}:${line}`;
    };
    return { values: parse(text), origin };
  } catch (error) {
    problems.push(
      error instanceof TomlError
        ? `${path}:${error.line}: ${error.message.split('\n')[0]}`
        : `${path}: cannot read it: ${messageOf(error)}`,
    );
    return undefined;
  }
}

/** Settings of KEELSON_ variables. Empty ones count as not set; unknown ones are problems. */
export function environmentLayer(
  env: Readonly<Record<string, string | undefined>>,
  problems: string[],
): Layer {
  const values: Table = {};
  const variables = new Map(settings().map((setting) => [setting.variable, setting]));
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('KEELSON_') || OTHER_VARIABLES.has(name)) continue;
    const setting = variables.get(name);
    if (setting === undefined) problems.push(`${name}: there is no such setting`);
    else if (text !== undefined && text !== '') put(values, setting.path, fromText(setting, text));
  }
  return { values, origin: (path) => `KEELSON_${path.slice(0, 2).join('_').toUpperCase()}` };
}

/** Settings of flags. */
export function flagLayer(flags: ConfigFlags): Layer {
  const values: Table = {};
  const names = new Map<string, string>();
  const keys = new Map(settings().map((setting) => [setting.key, setting]));
  for (const [name, [key, flag]] of Object.entries(KEY_OF_FLAG)) {
    const value = flags[name as keyof ConfigFlags];
    const setting = keys.get(key);
    if (value === undefined || setting === undefined) continue;
    put(values, setting.path, typeof value === 'string' ? fromText(setting, value) : value);
    names.set(key, flag);
  }
  return { values, origin: (path) => names.get(path.slice(0, 2).join('.')) ?? flagOf(path, names) };
}

function flagOf(path: readonly PropertyKey[], names: Map<string, string>): string {
  return names.get(String(path[0])) ?? 'the flags';
}

/** A value as TOML would have it; a text that fits not its kind is left for the schema to refuse. */
function fromText(setting: Setting, text: string): unknown {
  if (setting.kind === 'list') return text.split(setting.separator ?? ',');
  if (setting.kind === 'integer' && /^-?\d+$/.test(text)) return Number(text);
  if (setting.kind === 'boolean' && (text === 'true' || text === '1')) return true;
  if (setting.kind === 'boolean' && (text === 'false' || text === '0')) return false;
  return text;
}

function put(values: Table, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  if (rest.length === 0) values[key] = value;
  else {
    const table = (values[key] ?? {}) as Table;
    values[key] = table;
    put(table, rest, value);
  }
}
