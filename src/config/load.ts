import { hostname } from 'node:os';
import { KeelsonError } from '../base/index.ts';
import { checkWhole } from './checks.ts';
import { type Config, camelized, type RuntimeConfig, type RuntimeType } from './config.ts';
import {
  type ConfigFlags,
  environmentLayer,
  fileLayers,
  flagLayer,
  type Layer,
  type Table,
} from './layers.ts';
import { type Settings, schema } from './schema.ts';
import { RUNTIME_TYPES } from './sections/runtimes.ts';

/** The file that is read when none is named; it may be missing. */
export const DEFAULT_CONFIG_FILE = '/etc/keelson/config.toml';

export interface ConfigSources {
  /** A file that must exist. Left out: DEFAULT_CONFIG_FILE if it exists. */
  file?: string;
  flags?: ConfigFlags;
  env?: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads the configuration: flags win over the environment, that over the drop-ins
 * `FILE.d/*.toml` (later names over earlier ones), those over the file, and that over the
 * defaults. Tables merge, lists are replaced.
 *
 * Fails with INVALID_ARGUMENT; the message names the file and line of each unknown key
 * and each bad value.
 */
export async function loadConfig(sources: ConfigSources = {}): Promise<Config> {
  const { config, problems } = await readConfig(sources);
  if (config !== undefined) return config;
  throw new KeelsonError('INVALID_ARGUMENT', 'Cannot use the configuration', {
    reason: problems.join('; '),
  });
}

/** As `loadConfig`, but answers what is wrong, one line each, instead of failing. */
export async function readConfig(
  sources: ConfigSources,
): Promise<{ config: Config | undefined; problems: string[] }> {
  const problems: string[] = [];
  const layers = [
    ...(await fileLayers(
      sources.file ?? DEFAULT_CONFIG_FILE,
      sources.file !== undefined,
      problems,
    )),
    environmentLayer(sources.env ?? {}, problems),
    flagLayer(sources.flags ?? {}),
  ];
  for (const layer of layers) problems.push(...problemsOf(layer));
  if (problems.length > 0) return { config: undefined, problems };

  const runtimes = Object.fromEntries(RUNTIME_TYPES.map((name) => [name, {}]));
  const merged = layers.reduce((all, layer) => merge(all, layer.values), { runtimes } as Table);
  const config = resolve(schema.parse(merged));
  problems.push(...checkWhole(config, (path) => originIn(layers, path)));
  return { config: problems.length === 0 ? config : undefined, problems };
}

function problemsOf(layer: Layer): string[] {
  const result = schema.safeParse(layer.values);
  if (result.success) return [];
  return result.error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => {
        const path = [...issue.path, key];
        return `${layer.origin(path)}: unknown key "${path.join('.')}"`;
      });
    }
    const message = issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message;
    return [`${layer.origin(issue.path)}: ${issue.path.join('.')}: ${message ?? issue.message}`];
  });
}

/** Where a value of the merged settings came from. */
function originIn(layers: readonly Layer[], path: readonly string[]): string {
  const layer = layers.findLast(({ values }) => {
    let at: unknown = values;
    for (const key of path) at = (at as Table | undefined)?.[key];
    return at !== undefined;
  });
  return layer?.origin(path) ?? 'default';
}

function merge(below: Table, above: Table): Table {
  const merged = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const under = merged[key];
    merged[key] = isTable(value) && isTable(under) ? merge(under, value) : value;
  }
  return merged;
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Fills in what depends on other settings. */
function resolve(parsed: Settings): Config {
  const { runtimes, listen, admin, csi, ...plain } = parsed;
  const named = Object.entries(runtimes).map(([name, runtime]) => {
    // A name without type is refused by checkWhole.
    const type = runtime.type ?? (name as RuntimeType);
    const root = runtime.root ?? `${parsed.state}/runtimes/${name}`;
    const complete: RuntimeConfig = { ...runtime, type, path: runtime.path ?? type, root };
    return [name, complete] as const;
  });
  return {
    ...(camelized(plain) as Omit<Config, 'runtimes' | 'listen' | 'admin' | 'csi'>),
    listen: listen ?? [`unix://${parsed.state}/keelson.sock`],
    runtimes: Object.fromEntries(named),
    admin: { address: admin.address ?? `unix://${parsed.state}/admin.sock` },
    csi: resolveCsi(parsed),
  };
}

function resolveCsi({ root, csi }: Settings): Config['csi'] {
  const kubelet = csi.root ?? `${root}/csi/kubelet`;
  return {
    ...(camelized(csi) as Config['csi']),
    root: kubelet,
    registrationDir: csi.registration_dir ?? `${kubelet}/plugins_registry`,
    nodeName: csi.node_name ?? nodeNameOf(hostname()),
  };
}

/** As a kubelet makes it of the host name. */
function nodeNameOf(host: string): string {
  const name = host
    .trim()
    .toLowerCase()
    .replace(/[^-.a-z0-9]/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return name === '' ? 'localhost' : name;
}
