import { CNI_ERROR } from './error.ts';
import { JsonReader } from './json-reader.ts';
import { checkPluginType, isCniName } from './names.ts';
import { type CniVersion, isVersion, newestOf, OLDEST_VERSION } from './versions.ts';

/** One plugin of a network: its configuration as the administrator wrote it. */
export interface NetworkPlugin {
  type: string;
  /** Names of the capability arguments that the plugin is to get. */
  capabilities: string[];
  /** The whole object, passed on to the plugin. */
  config: Record<string, unknown>;
}

/** A network: a list of plugins that make it together (CNI specification, section 1). */
export interface NetworkList {
  name: string;
  cniVersion: CniVersion;
  disableCheck: boolean;
  disableGc: boolean;
  plugins: NetworkPlugin[];
  /** The configuration as JSON. Reading it anew gives the same list, with no other file. */
  source: string;
}

/**
 * Reads a network configuration: a list, or a single plugin's configuration, which becomes
 * a list of one. `files` are the plugins that stand in files of their own, if the list
 * allows such. Fails with a `CniError` (invalid configuration) that names the place.
 */
export function parseNetworkList(
  json: unknown,
  what: string,
  files: readonly unknown[] = [],
): NetworkList {
  const reader = new JsonReader(json, what, CNI_ERROR.INVALID_CONFIG);
  if (reader.get('plugins') === undefined && reader.get('type') !== undefined) {
    return readList(asList(reader.record()), what);
  }
  if (files.length === 0) return readList(reader.record(), what);
  const inline = reader.get('plugins')?.items() ?? [];
  const plugins = [...inline.map((item) => item.value), ...files];
  return readList({ ...reader.record(), plugins, loadOnlyInlinedPlugins: true }, what);
}

/** Whether plugins may stand in files of their own, and the directory's name, which is the network's. */
export function pluginDirectoryOf(json: unknown, what: string): string | undefined {
  const reader = new JsonReader(json, what, CNI_ERROR.INVALID_CONFIG);
  if (reader.get('plugins') === undefined && reader.get('type') !== undefined) return undefined;
  if (readFlag(reader, 'loadOnlyInlinedPlugins')) return undefined;
  return readName(reader);
}

function asList(plugin: Record<string, unknown>): Record<string, unknown> {
  const { name, cniVersion } = plugin;
  return { ...(cniVersion === undefined ? {} : { cniVersion }), name, plugins: [plugin] };
}

function readList(json: Record<string, unknown>, what: string): NetworkList {
  const reader = new JsonReader(json, what, CNI_ERROR.INVALID_CONFIG);
  const plugins = (reader.get('plugins')?.items() ?? []).map(readPlugin);
  if (plugins.length === 0) throw reader.error('it has no plugins');
  return {
    name: readName(reader),
    cniVersion: readVersion(reader),
    disableCheck: readFlag(reader, 'disableCheck'),
    disableGc: readFlag(reader, 'disableGC'),
    plugins,
    source: JSON.stringify(json),
  };
}

function readName(reader: JsonReader): string {
  const name = reader.required('name').string();
  if (!isCniName(name)) {
    throw reader.error(
      `its name ${JSON.stringify(name.slice(0, 100))} does not match [a-zA-Z0-9][a-zA-Z0-9_.-]*`,
    );
  }
  return name;
}

/** The newest known version of `cniVersion` and `cniVersions`; newer ones in the latter do no harm. */
function readVersion(reader: JsonReader): CniVersion {
  const own = reader.get('cniVersion')?.string() || undefined;
  const others = reader.get('cniVersions')?.items().map(readOtherVersion) ?? [];
  const version = newestOf([...others, own ?? (others.length === 0 ? OLDEST_VERSION : '')]);
  if (version !== undefined) return version;
  const named = [own, ...others].filter((text) => text !== undefined).join('", "');
  throw reader.error(`its CNI version "${named.slice(0, 100)}" is not known`);
}

function readOtherVersion(reader: JsonReader): string {
  const version = reader.string();
  if (isVersion(version)) return version;
  throw reader.error(`"${version.slice(0, 50)}" is no version`);
}

/** A flag, which the specification allows to be written as a string too; libcni, in capitals. */
function readFlag(reader: JsonReader, key: string): boolean {
  const flag = reader.get(key);
  const text = typeof flag?.value === 'string' ? flag.value.toLowerCase() : undefined;
  if (text === 'true') return true;
  if (text === 'false') return false;
  return flag?.boolean() ?? false;
}

function readPlugin(reader: JsonReader): NetworkPlugin {
  const type = reader.required('type').string();
  checkPluginType(type);
  const capabilities = reader.get('capabilities');
  return {
    type,
    capabilities: Object.keys(capabilities?.record() ?? {}).filter((name) =>
      capabilities?.get(name)?.boolean(),
    ),
    config: reader.record(),
  };
}
