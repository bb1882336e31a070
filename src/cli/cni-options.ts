import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { Config } from '../config/index.ts';
import type { CniPlace, CniSettings } from './cni-tool.ts';
import { usageError } from './failures.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Which networks and plugins there are. */
export interface NetworkOptions {
  config?: string;
  confDir?: string;
  binDir?: string;
  prefer?: 'builtin' | 'exec';
}

/** What is attached. */
export interface PlaceOptions {
  containerId?: string;
  ifname?: string;
  args?: string;
  capArgs?: string;
}

export function networkOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration (default: /etc/keelson/config.toml if there)')
    .option('--conf-dir <dir>', 'network configurations (NETCONFPATH)')
    .option('--bin-dir <dirs>', 'plugin programs, separated by ":" (CNI_PATH)')
    .addOption(
      new Option('--prefer <kind>', 'which to run where both are there').choices([
        'builtin',
        'exec',
      ]),
    );
}

export function placeOptions(command: Command): Command {
  return command
    .option('--ifname <name>', 'interface in the namespace (CNI_IFNAME; default: eth0)')
    .option('--container-id <id>', 'default: as of cnitool, made from the path of the namespace')
    .option('--args <pairs>', 'arguments KEY=VALUE;KEY=VALUE (CNI_ARGS)')
    .option('--cap-args <json>', 'capability arguments, such as {"portMappings":[…]} (CAP_ARGS)');
}

/** Flags first, then the variables of cnitool, then the configuration of the daemon. */
export function settingsOf(config: Config, options: NetworkOptions, env: Environment): CniSettings {
  const { cni } = config;
  const confDir = options.confDir ?? env['NETCONFPATH'];
  const binDirs = (options.binDir ?? env['CNI_PATH'] ?? '').split(':').filter((dir) => dir !== '');
  return {
    confDir: confDir ? resolve(confDir) : cni.confDir,
    binDirs: binDirs.length === 0 ? cni.binDirs : binDirs.map((dir) => resolve(dir)),
    overrideDir: cni.overrideDir,
    cacheDir: cni.cacheDir,
    prefer: options.prefer ?? cni.prefer,
    pluginTimeout: cni.pluginTimeout,
    defaultNetwork: cni.defaultNetwork,
    root: config.root,
  };
}

export function placeOf(netns: string, options: PlaceOptions, env: Environment): CniPlace {
  const path = resolve(netns);
  return {
    netns: path,
    containerId: options.containerId ?? idOf(path),
    ifname: options.ifname ?? (env['CNI_IFNAME'] || 'eth0'),
    args: readPairs(options.args ?? env['CNI_ARGS'] ?? ''),
    capabilityArgs: readCapabilityArgs(options.capArgs ?? env['CAP_ARGS'] ?? ''),
  };
}

/** As cnitool has it, so that one may undo what the other did. */
function idOf(netns: string): string {
  return `cnitool-${createHash('sha512').update(netns).digest('hex').slice(0, 20)}`;
}

function readPairs(text: string): [string, string][] {
  const pairs = text.split(';').filter((pair) => pair !== '');
  return pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
    throw usageError(`Invalid CNI arguments: "${pair}" is not KEY=VALUE`);
  });
}

function readCapabilityArgs(text: string): Record<string, unknown> {
  if (text === '') return {};
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) {
    return json as Record<string, unknown>;
  }
  throw usageError('Invalid capability arguments: they are no JSON object');
}
