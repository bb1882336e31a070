import { statSync } from 'node:fs';
import { messageOf } from '../../base/index.ts';
import {
  CNI_ERROR,
  CNI_VERSIONS,
  type CniCommand,
  CniError,
  type CniVersion,
  checkContainerId,
  checkInterfaceName,
  isAtLeast,
  isCniName,
  isCniVersion,
  isVersion,
  JsonReader,
  OLDEST_VERSION,
  type PluginCall,
  type PluginConfig,
  parseResult,
  type ValidAttachment,
} from '../spec/index.ts';
import { repeatedKey } from './repeated-key.ts';

/** What a plugin program is started with. */
export interface ProgramInput {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What stands on the standard input. */
  readonly text: string;
}

type Variable = 'CNI_CONTAINERID' | 'CNI_NETNS' | 'CNI_IFNAME' | 'CNI_PATH';

/** CNI specification, section 2, "Parameters". */
const REQUIRED: Record<CniCommand, readonly Variable[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME', 'CNI_PATH'],
  GC: ['CNI_PATH'],
  STATUS: ['CNI_PATH'],
  VERSION: [],
};

/** The versions that brought a command. */
const SINCE: Partial<Record<CniCommand, CniVersion>> = {
  CHECK: '0.4.0',
  GC: '1.1.0',
  STATUS: '1.1.0',
};

/** The command, once all variables that it requires are there. */
export function readCommand({ env }: ProgramInput): CniCommand {
  const command = env['CNI_COMMAND'] ?? '';
  if (command === '') throw badEnvironment('required env variables [CNI_COMMAND] missing');
  if (!isCommand(command)) {
    throw badEnvironment(`unknown CNI_COMMAND: ${JSON.stringify(command.slice(0, 100))}`);
  }
  const missing = REQUIRED[command].filter((name) => (env[name] ?? '') === '');
  if (missing.length > 0) {
    throw badEnvironment(`required env variables [${missing.join(',')}] missing`);
  }
  return command;
}

function isCommand(text: string): text is CniCommand {
  return Object.hasOwn(REQUIRED, text);
}

/** The version of the configuration, if it says one that is known: for the answer, whatever else is wrong. */
export function versionIn(text: string): CniVersion | undefined {
  try {
    const json: unknown = JSON.parse(text);
    const version = (json as { cniVersion?: unknown } | null)?.cniVersion;
    return isCniVersion(version) ? version : undefined;
  } catch {
    return undefined;
  }
}

/** The call that the variables and the configuration make together, all of it checked. */
export function readCall(
  command: PluginCall['command'],
  input: ProgramInput,
  more: { type: string | undefined; signal: AbortSignal },
): PluginCall {
  const config = readConfiguration(command, input.text, more.type);
  const { env } = input;
  const general = { command, path: (env['CNI_PATH'] ?? '').split(':'), config };
  if (command === 'GC' || command === 'STATUS') {
    return { ...general, containerId: '', netns: '', ifname: '', args: '', signal: more.signal };
  }
  const call = {
    ...general,
    containerId: env['CNI_CONTAINERID'] ?? '',
    netns: env['CNI_NETNS'] ?? '',
    ifname: env['CNI_IFNAME'] ?? '',
    args: env['CNI_ARGS'] ?? '',
    signal: more.signal,
  };
  checkContainerId(call.containerId);
  checkInterfaceName(call.ifname);
  if (!/^(1|true)$/i.test(env['CNI_NETNS_OVERRIDE'] ?? '')) checkNamespace(call.netns);
  return call;
}

function readConfiguration(
  command: PluginCall['command'],
  text: string,
  type: string | undefined,
): PluginConfig {
  const reader = new JsonReader(parse(text), 'network configuration', CNI_ERROR.DECODING_FAILURE);
  const sysctl = repeatedKey(text, 'sysctl');
  if (sysctl !== undefined) throw reader.error(`sysctl ${JSON.stringify(sysctl)} is duplicated`);
  const name = reader.get('name')?.string() ?? '';
  if (!isCniName(name)) {
    const details = name === '' ? 'missing network name' : JSON.stringify(name.slice(0, 100));
    throw new CniError(CNI_ERROR.INVALID_CONFIG, 'invalid network name', { details });
  }
  const cniVersion = readVersion(command, reader);
  const { prevResult: _, ...own } = reader.record();
  const prevResult = reader.get('prevResult');
  const runtimeConfig = reader.get('runtimeConfig')?.record();
  return {
    ...own,
    cniVersion,
    name,
    type: reader.get('type')?.string() ?? type ?? '',
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    ...(prevResult === undefined
      ? {}
      : { prevResult: parseResult(prevResult.value, cniVersion, 'prevResult') }),
    ...(command === 'GC' ? { 'cni.dev/valid-attachments': readAttachments(reader) } : {}),
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CniError(CNI_ERROR.DECODING_FAILURE, 'cannot read the network configuration', {
      details: text.trim() === '' ? 'standard input is empty' : messageOf(error),
    });
  }
}

function readVersion(command: CniCommand, reader: JsonReader): CniVersion {
  const version = reader.get('cniVersion')?.string() || OLDEST_VERSION;
  const since = SINCE[command];
  if (since !== undefined && !isVersion(version)) {
    throw reader.error(`cniVersion ${JSON.stringify(version.slice(0, 50))} is no version`);
  }
  if (!isCniVersion(version)) {
    throw incompatible(
      `config is ${JSON.stringify(version.slice(0, 50))}, known are "${CNI_VERSIONS.join('", "')}"`,
    );
  }
  if (since === undefined || isAtLeast(version, since)) return version;
  throw incompatible(`config version "${version}" does not allow ${command}`);
}

/** Left out, there are none and all is garbage: so `cnitool gc` asks. */
function readAttachments(reader: JsonReader): ValidAttachment[] {
  const list = reader.get('cni.dev/valid-attachments') ?? reader.get('cni.dev/attachments');
  return (list?.items() ?? []).map((item) => ({
    containerID: item.required('containerID').string(),
    ifname: item.required('ifname').string(),
  }));
}

/** A container on the network of the plugin itself would have its interfaces made on the host. */
function checkNamespace(netns: string): void {
  if (netns === '' || !isOwnNamespace(netns)) return;
  throw new CniError(
    CNI_ERROR.INVALID_NETNS,
    "plugin's netns and netns from CNI_NETNS should not be the same",
    { details: JSON.stringify(netns) },
  );
}

function isOwnNamespace(path: string): boolean {
  try {
    const [own, other] = [statSync('/proc/thread-self/ns/net'), statSync(path)];
    return own.dev === other.dev && own.ino === other.ino;
  } catch {
    // DEL must succeed without; the plugin itself knows whether it needs one.
    return false;
  }
}

function badEnvironment(message: string): CniError {
  return new CniError(CNI_ERROR.INVALID_ENVIRONMENT, message);
}

function incompatible(details: string): CniError {
  return new CniError(CNI_ERROR.INCOMPATIBLE_VERSION, 'incompatible CNI versions', { details });
}
