import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  formatCidr,
  ifExists,
  networkOf,
  parseCidr,
  readTextIfExists,
  writeFileAtomic,
} from '../../base/index.ts';
import {
  CNI_ERROR,
  CniError,
  JsonReader,
  type Plugin,
  type PluginCall,
  type PluginConfig,
  type PluginInvoker,
} from '../spec/index.ts';
import { definePlugin, invalidConfig, readConfig } from './plugin-definition.ts';

const DEFAULT_SUBNET_FILE = '/run/flannel/subnet.env';
const DEFAULT_DATA_DIR = '/var/lib/cni/flannel';

/** What flanneld says of the node's subnet. */
interface SubnetFile {
  readonly networks: readonly string[];
  readonly subnets: readonly string[];
  readonly mtu: number;
  /** flanneld masquerades itself. */
  readonly masquerades: boolean;
}

/**
 * Configures another plugin for the subnet that flannel gave to the node, and has that
 * do the work. The configuration is kept for DEL, because flannel may give another subnet.
 */
export function flannel(): Plugin {
  return definePlugin('flannel', {
    async add(call, delegates) {
      const config = renderDelegate(call, await readSubnetFile(subnetFileOf(call)));
      await mkdir(dataDirOf(call), { recursive: true, mode: 0o700 });
      await writeFileAtomic(storedPath(call), JSON.stringify(config));
      const result = await delegates.invoke(config.type, delegateCall(call, config));
      if (result === undefined) {
        throw new CniError(CNI_ERROR.INTERNAL, `Plugin "${config.type}" answered no result`);
      }
      return result;
    },

    async del(call, delegates) {
      const stored = await readTextIfExists(storedPath(call));
      if (stored === undefined) return;
      const config = parseStored(stored, call);
      await delegates.invoke(config.type, delegateCall(call, config));
      await rm(storedPath(call), { force: true });
    },

    async check(call, delegates) {
      const stored = await ifExists(readFile(storedPath(call), 'utf8'));
      if (stored === undefined) {
        throw new CniError(
          CNI_ERROR.UNKNOWN_CONTAINER,
          `flannel knows no container "${call.containerId}"`,
        );
      }
      const config = parseStored(stored, call);
      await delegates.invoke(config.type, delegateCall(call, config));
    },

    gc: (call, delegates) => forward(call, delegates),

    async status(call, delegates) {
      try {
        await readSubnetFile(subnetFileOf(call));
      } catch (cause) {
        throw new CniError(CNI_ERROR.PLUGIN_NOT_AVAILABLE, 'flannel has no subnet', { cause });
      }
      await forward(call, delegates);
    },
  });
}

async function forward(call: PluginCall, delegates: PluginInvoker): Promise<void> {
  const config = renderDelegate(call, await readSubnetFile(subnetFileOf(call)));
  await delegates.invoke(config.type, delegateCall(call, config));
}

/** The delegate's configuration with what the call brings besides. */
function delegateCall(call: PluginCall, config: PluginConfig): PluginCall {
  const { prevResult } = call.config;
  const attachments = call.config['cni.dev/valid-attachments'];
  return {
    ...call,
    config: {
      ...config,
      ...(prevResult === undefined ? {} : { prevResult }),
      ...(attachments === undefined ? {} : { 'cni.dev/valid-attachments': attachments }),
    },
  };
}

/** The configuration of the plugin that does the work; what `delegate` says goes first. */
export function renderDelegate(call: PluginCall, file: SubnetFile): PluginConfig {
  const reader = readConfig(call);
  const delegate = { ...(reader.get('delegate')?.record() ?? {}) };
  for (const key of ['name', 'ipam']) {
    if (delegate[key] !== undefined) throw invalidConfig(`"delegate" must not have "${key}"`);
  }
  const type = reader.get('delegate')?.get('type')?.string() || 'bridge';
  const { runtimeConfig, cniVersion, name } = call.config;
  return {
    ipMasq: !file.masquerades,
    ...(file.mtu === 0 ? {} : { mtu: file.mtu }),
    ...(type === 'bridge' ? { isGateway: true } : {}),
    ...delegate,
    type,
    name,
    cniVersion,
    ...(runtimeConfig === undefined ? {} : { runtimeConfig }),
    ipam: renderIpam(reader.get('ipam'), file),
  };
}

function renderIpam(reader: JsonReader | undefined, file: SubnetFile): Record<string, unknown> {
  const given = reader?.record() ?? {};
  const routes =
    reader
      ?.get('routes')
      ?.items()
      .map((route) => route.record()) ?? [];
  return {
    ...given,
    type: reader?.get('type')?.string() || 'host-local',
    ranges: file.subnets.map((subnet) => [{ subnet }]),
    routes: [...routes, ...file.networks.map((dst) => ({ dst }))],
  };
}

async function readSubnetFile(path: string): Promise<SubnetFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new CniError(CNI_ERROR.TRY_AGAIN_LATER, `Cannot read "${path}"`, {
      cause,
      hint: 'flanneld writes it when it has got a subnet',
    });
  }
  return parseSubnetFile(text, path);
}

export function parseSubnetFile(text: string, path: string): SubnetFile {
  const values = new Map(
    text.split('\n').flatMap((line): [string, string][] => {
      const at = line.indexOf('=');
      return at <= 0 ? [] : [[line.slice(0, at).trim(), line.slice(at + 1).trim()]];
    }),
  );
  const cidrs = (key: string) => {
    const list = (values.get(key) ?? '').split(',').filter((item) => item !== '');
    const bad = list.find((item) => parseCidr(item) === undefined);
    if (bad !== undefined) throw invalidConfig(`${key} in "${path}" holds ${JSON.stringify(bad)}`);
    return list;
  };
  const subnets = [...cidrs('FLANNEL_SUBNET'), ...cidrs('FLANNEL_IPV6_SUBNET')].map(subnetOf);
  const missing = ['FLANNEL_MTU', 'FLANNEL_IPMASQ'].filter((key) => !values.has(key));
  if (subnets.length === 0) missing.push('FLANNEL_SUBNET');
  if (missing.length > 0) throw invalidConfig(`"${path}" is missing ${missing.join(', ')}`);
  const mtu = Number(values.get('FLANNEL_MTU'));
  if (!Number.isInteger(mtu) || mtu < 0)
    throw invalidConfig(`FLANNEL_MTU in "${path}" is no number`);
  return {
    networks: [...cidrs('FLANNEL_NETWORK'), ...cidrs('FLANNEL_IPV6_NETWORK')],
    subnets,
    mtu,
    masquerades: values.get('FLANNEL_IPMASQ') === 'true',
  };
}

/** flannel writes the address of its own interface: 10.1.2.1/24 for 10.1.2.0/24. */
function subnetOf(text: string): string {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw invalidConfig(`${JSON.stringify(text)} is no subnet`);
  return formatCidr(networkOf(cidr));
}

function subnetFileOf(call: PluginCall): string {
  return readConfig(call).get('subnetFile')?.string() || DEFAULT_SUBNET_FILE;
}

function dataDirOf(call: PluginCall): string {
  return readConfig(call).get('dataDir')?.string() || DEFAULT_DATA_DIR;
}

function storedPath(call: PluginCall): string {
  return join(dataDirOf(call), call.containerId);
}

function parseStored(text: string, call: PluginCall): PluginConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CniError(CNI_ERROR.DECODING_FAILURE, `Cannot read "${storedPath(call)}"`, { cause });
  }
  const reader = new JsonReader(value, storedPath(call), CNI_ERROR.DECODING_FAILURE);
  const type = reader.required('type').string();
  const { cniVersion, name } = call.config;
  return { ...reader.record(), type, cniVersion, name };
}
