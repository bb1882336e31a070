import {
  type ExecFileSyncOptionsWithStringEncoding,
  execFileSync,
  spawnSync,
} from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NEVER } from '../../src/base/index.ts';
import { type BuiltinOptions, builtinPlugins } from '../../src/cni/plugins/index.ts';
import {
  type CniResult,
  formatResult,
  type Plugin,
  type PluginCall,
  type PluginInvoker,
  parseResult,
} from '../../src/cni/spec/index.ts';
import {
  connectInNamespace,
  createPinnedNamespace,
  insideNamespace,
  raw,
  removePinnedNamespace,
  setLoopbackUp,
} from '../../src/linux/index.ts';

export const REFERENCE = '/usr/lib/cni';
const CLONE_NEWNET = 0x40000000;

/** Moves this process's thread into a network namespace of its own, for good: the tests' host. */
export function enterOwnHost(): void {
  if (raw.unshare(CLONE_NEWNET) !== 0) throw new Error('cannot unshare the network namespace');
  setLoopbackUp();
}

/** Removes all links and rules of the tests' own host, so that one test does not see another's. */
export function clearOwnHost(): void {
  const links = JSON.parse(inside(undefined, 'ip', '-json', 'link')) as { ifname: string }[];
  for (const { ifname } of links) {
    if (!/^(lo|ifb\d)$/.test(ifname)) spawnSync('ip', ['link', 'del', ifname]);
  }
  inside(undefined, 'nft', 'flush', 'ruleset');
}

/** Directory and network namespaces of a test file, all removed by `close`. */
export class Bench {
  readonly #namespaces: string[] = [];
  #directory: string | undefined;

  /** Made when first asked for: nothing is closed after tests that are all skipped. */
  get directory(): string {
    this.#directory ??= mkdtempSync(join(tmpdir(), 'keelson-cni-'));
    return this.#directory;
  }

  /** A network namespace with nothing but loopback, down. */
  namespace(): string {
    const path = join(this.directory, `ns-${randomBytes(4).toString('hex')}`);
    createPinnedNamespace('net', path);
    this.#namespaces.push(path);
    return path;
  }

  /** Another host beside the one that the tests run in. */
  host(): string {
    const path = this.namespace();
    insideNamespace('net', path, setLoopbackUp);
    return path;
  }

  path(name: string): string {
    const path = join(this.directory, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  async forget(path: string): Promise<void> {
    await removePinnedNamespace(path);
  }

  async close(): Promise<void> {
    for (const path of this.#namespaces) await removePinnedNamespace(path);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface CallOptions {
  containerId?: string;
  netns?: string;
  ifname?: string;
  args?: string;
  prevResult?: object | undefined;
  signal?: AbortSignal;
}

export type Config = Record<string, unknown> & { type: string };

/** A container id that no other test has. */
export function newContainerId(): string {
  return `t${randomBytes(8).toString('hex')}`;
}

/** Runs built-in plugins, delegating to one another. */
export class BuiltIn implements PluginInvoker {
  readonly #plugins: Plugin[];

  constructor(options: BuiltinOptions = {}) {
    this.#plugins = builtinPlugins(options);
  }

  async invoke(type: string, call: PluginCall): Promise<CniResult | undefined> {
    const plugin = this.#plugins.find((one) => one.type === type);
    if (plugin === undefined) throw new Error(`no built-in plugin "${type}"`);
    switch (call.command) {
      case 'ADD':
        return plugin.add(call, this);
      case 'DEL':
        await plugin.del(call, this);
        return undefined;
      case 'CHECK':
        await plugin.check(call, this);
        return undefined;
      case 'GC':
        await plugin.gc(call, this);
        return undefined;
      case 'STATUS':
        await plugin.status(call, this);
        return undefined;
    }
  }

  async resume(): Promise<void> {
    await Promise.all(this.#plugins.map((plugin) => plugin.resume?.()));
  }

  async find() {
    return 'built-in';
  }

  async versions() {
    return ['1.0.0'];
  }

  /** One call as a runtime makes it; answers the result in the form of the config's version. */
  async run(command: PluginCall['command'], config: Config, options: CallOptions = {}) {
    const { prevResult, ...rest } = options;
    const version = (config['cniVersion'] as '1.0.0') ?? '1.0.0';
    const result = await this.invoke(config.type, {
      command,
      containerId: '',
      netns: '',
      ifname: command === 'GC' || command === 'STATUS' ? '' : 'eth0',
      args: '',
      path: [],
      signal: NEVER,
      ...rest,
      config: {
        name: 'testnet',
        ...config,
        cniVersion: version,
        ...(prevResult === undefined
          ? {}
          : {
              prevResult: parseResult(
                { cniVersion: version, ...prevResult },
                version,
                'prevResult',
              ),
            }),
      },
    });
    return result === undefined ? undefined : (formatResult(result, version) as Result);
  }

  add = (config: Config, options: CallOptions) =>
    this.run('ADD', config, options) as Promise<Result>;
  del = (config: Config, options: CallOptions) => this.run('DEL', config, options);
  check = (config: Config, options: CallOptions) => this.run('CHECK', config, options);
}

// biome-ignore lint/suspicious/noExplicitAny: results are compared as a whole.
export type Result = Record<string, any>;

/** Runs a plugin program of the reference, in the network namespace of a host. */
export function runReference(
  host: string,
  command: string,
  config: Config,
  options: CallOptions = {},
): Result | undefined {
  const { prevResult } = options;
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--net=${host}`, `${REFERENCE}/${config.type}`],
    {
      input: JSON.stringify({
        cniVersion: '1.0.0',
        name: 'testnet',
        ...config,
        ...(prevResult === undefined ? {} : { prevResult }),
      }),
      env: {
        ...process.env,
        CNI_COMMAND: command,
        CNI_CONTAINERID: options.containerId ?? '',
        CNI_NETNS: options.netns ?? '',
        CNI_IFNAME: options.ifname ?? 'eth0',
        CNI_ARGS: options.args ?? '',
        CNI_PATH: REFERENCE,
      },
      timeout: 20_000,
    },
  );
  const text = stdout.toString();
  if (status !== 0) throw new Error(`reference ${config.type}: ${text} ${stderr}`);
  return text.trim() === '' ? undefined : JSON.parse(text);
}

/** Runs a program in a network namespace; `undefined` is the tests' host. */
export function inside(netns: string | undefined, ...command: string[]): string {
  const [program = '', ...args] = command;
  const options: ExecFileSyncOptionsWithStringEncoding = {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  };
  return netns === undefined
    ? execFileSync(program, args, options)
    : execFileSync('nsenter', [`--net=${netns}`, ...command], options);
}

/**
 * Links, addresses, routes and rules of a namespace, as ip(8) shows them, without what is
 * random: indexes, hardware addresses, names of veths, times, the search for duplicates; and without the length of
 * queues, which old versions of the reference set to 0.
 */
export function networkOf(netns: string | undefined): Result {
  const json = (...args: string[]) =>
    normalize(JSON.parse(inside(netns, 'ip', '-json', '-d', ...args) || '[]'));
  return {
    addresses: json('address'),
    routes4: json('-4', 'route', 'show', 'table', 'all'),
    routes6: json('-6', 'route', 'show', 'table', 'all'),
    rules4: json('-4', 'rule'),
    rules6: json('-6', 'rule'),
  };
}

const RANDOM =
  /^(ifindex|link_index|link_netnsid|address|permaddr|bridge_id|root_id|designated_bridge|.*_timer|designated_root|port_id|id|no|expires|valid_life_time|preferred_life_time|stable_privacy_seed|num_tx_queues|num_rx_queues|txqlen|tentative)$/;

function normalize(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => normalize(item, key));
    return items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([name]) => !RANDOM.test(name));
    return Object.fromEntries(entries.map(([name, item]) => [name, normalize(item, name)]));
  }
  if (typeof value !== 'string') return value;
  if (/^fe80:/.test(value)) return 'link-local';
  return value.replace(/^veth[0-9a-f]{8}/, 'veth*').replace(/^(bwp)[0-9a-f]{12}/, '$1*');
}

/** A result without its random parts. */
export function comparable(result: Result | undefined): unknown {
  return JSON.parse(
    JSON.stringify(result)
      .replaceAll(/"mac":"[0-9a-f:]{17}"/g, '"mac":"*"')
      .replaceAll(/veth[0-9a-f]{8}/g, 'veth*')
      .replaceAll(/"sandbox":"[^"]+"/g, '"sandbox":"*"'),
  );
}

/** A TCP server in a namespace that answers each connection with the client's address. */
export function serveAddress(netns: string, port: number): Server {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(`${socket.remoteAddress}`);
  });
  insideNamespace('net', netns, () => server.listen(port));
  return server;
}

/** A UDP socket in a namespace, bound to a port. */
export function udpSocket(netns: string, port: number): Socket {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(2);
  address.writeUInt16BE(port, 2);
  const fd = insideNamespace('net', netns, () => {
    const made = raw.socket(2, 0x80802, 0);
    if (raw.bind(made, address, address.length) !== 0) throw new Error(`cannot bind to ${port}`);
    return made;
  });
  const socket = createSocket('udp4');
  socket.bind({ fd });
  return socket;
}

/** Connects from a namespace and answers what the server says, within so many milliseconds. */
export async function ask(
  netns: string,
  address: string,
  port: number,
  patience = 5000,
): Promise<string> {
  const socket = connectInNamespace(netns, { host: address, port });
  let text = '';
  const timer = setTimeout(() => socket.destroy(new Error(`no answer from ${address}`)), patience);
  try {
    for await (const chunk of socket) text += chunk;
    return text.replace(/^::ffff:/, '');
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** The tests' own host as a path. */
export function ownHost(): string {
  return `/proc/${process.pid}/ns/net`;
}
