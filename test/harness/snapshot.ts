import { readdir, readFile, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jsonOutput, outputOrNothing } from './programs.ts';

/** What the kernel and the well-known directories hold, one line for each thing. */
export type Snapshot = ReadonlySet<string>;

/** Takes stock of everything that tests could leave behind, except processes. */
export async function takeSnapshot(): Promise<Snapshot> {
  const parts = await Promise.all([
    mounts(),
    cgroups(),
    links(),
    addresses(),
    routesAndRules(),
    nftables(),
    iptables(),
    loopDevices(),
    files(),
  ]);
  return new Set(parts.flat());
}

/** The program `ip netns` makes this mount once for the host and never removes it. */
const IP_NETNS = 'mount /run/netns (';

async function mounts(): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      return `mount ${before.split(' ')[4]} (${after.split(' ')[0]})`;
    })
    .filter((line) => !line.startsWith(IP_NETNS));
}

async function cgroups(): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  const roots = text
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
  // On a v1 host the mountpoints lie in a tmpfs, where nothing else belongs either.
  const trees = await Promise.all(['/sys/fs/cgroup', ...roots].map(directoriesUnder));
  return trees.flat().map((path) => `cgroup ${path}`);
}

async function directoriesUnder(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  const children = entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(path, name));
  const below = await Promise.all(children.map(directoriesUnder));
  return [...children, ...below.flat()];
}

interface Link {
  ifname: string;
  link_type?: string;
  addr_info?: { family: string; local: string; prefixlen: number; scope: string }[];
}

async function links(): Promise<string[]> {
  const all = await jsonOutput<Link>('ip', '-json', 'link', 'show');
  return all.map(({ ifname }) => `interface ${ifname}`);
}

async function addresses(): Promise<string[]> {
  const all = await jsonOutput<Link>('ip', '-json', 'address', 'show');
  return all.flatMap(({ ifname, addr_info = [] }) =>
    addr_info.map(({ local, prefixlen }) => `address ${local}/${prefixlen} on ${ifname}`),
  );
}

async function routesAndRules(): Promise<string[]> {
  const commands = ['-4', '-6'].flatMap((family) => [
    { kind: `route ${family}`, args: [family, 'route', 'show', 'table', 'all'] },
    { kind: `rule ${family}`, args: [family, 'rule', 'show'] },
  ]);
  const parts = await Promise.all(
    commands.map(async ({ kind, args }) => {
      const text = await outputOrNothing('ip', ...args);
      // Lifetimes and counters change by themselves.
      const lines = text
        .split('\n')
        .map((line) => line.replace(/ (expires|error) \S+/g, '').trim());
      return lines.filter((line) => line !== '').map((line) => `${kind}: ${line}`);
    }),
  );
  return parts.flat();
}

/** Rules of nftables but for those that iptables wrote, which are looked at on their own. */
async function nftables(): Promise<string[]> {
  const ruleset = await outputOrNothing('nft', '-j', 'list', 'ruleset');
  if (ruleset === '') return [];
  const { nftables: objects } = JSON.parse(ruleset) as { nftables: Record<string, NftObject>[] };
  return objects.flatMap((object) => {
    const [entry] = Object.entries(object);
    if (entry === undefined || entry[0] === 'metainfo') return [];
    const [kind, { family = '', table, chain, name = '', elem }] = entry;
    const where = `${family} ${table ?? name}`;
    if (IPTABLES_TABLES.test(where)) return [];
    if (OWN_TABLES.test(where) && (LASTING_PARTS.has(kind) || LASTING_CHAINS.has(chain ?? name))) {
      return (elem ?? []).map((element) => `nftables element in ${where}: ${text(element)}`);
    }
    const what = kind === 'rule' || elem !== undefined ? text(entry[1]) : name;
    return [`nftables ${kind} in ${where}: ${what}`];
  });
}

interface NftObject {
  family?: string;
  table?: string;
  chain?: string;
  name?: string;
  elem?: unknown[];
}

const IPTABLES_TABLES = /^ip6? (filter|nat|mangle|raw|security)$/;

/** The built-in plugins set their tables up once for the host; pods are elements of the maps. */
const OWN_TABLES = /^(inet keelson_masquerade|ip6? keelson_hostport)$/;
const LASTING_PARTS = new Set(['table', 'map']);
const LASTING_CHAINS = new Set(['prerouting', 'output', 'postrouting', 'hostports']);

/** Without what changes by itself. */
function text(object: unknown): string {
  return JSON.stringify(object, (key, value: unknown) =>
    key === 'counter' || key === 'handle' ? undefined : value,
  );
}

/**
 * The portmap plugin sets these chains up once for the host and never removes them, nor do
 * iptables' own chains go away when they are empty.
 */
const LASTING = /^-A CNI-HOSTPORT-(SETMARK|MASQ) |-j CNI-HOSTPORT-(DNAT|MASQ)$/;
const LASTING_CHAIN = /^:(CNI-HOSTPORT-(SETMARK|MASQ|DNAT)|[A-Z]+) /;

async function iptables(): Promise<string[]> {
  const programs = ['iptables-nft', 'ip6tables-nft', 'iptables-legacy', 'ip6tables-legacy'];
  const parts = await Promise.all(
    programs.map(async (program) => {
      const lines = (await outputOrNothing(`${program}-save`)).split('\n');
      return lines
        .filter((line) => /^(-A|:)/.test(line) && !LASTING.test(line) && !LASTING_CHAIN.test(line))
        .map((line) => `${program}: ${line.replace(/ \[\d+:\d+\]$/, '')}`);
    }),
  );
  return parts.flat();
}

async function loopDevices(): Promise<string[]> {
  const names = await readdir('/sys/block').catch(() => []);
  const parts = await Promise.all(
    names
      .filter((name) => name.startsWith('loop'))
      .map(async (name) => {
        const backing = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(
          () => '',
        );
        return backing === '' ? [] : [`loop device ${name} of ${backing.trim()}`];
      }),
  );
  return parts.flat();
}

/** Whoever calls CNI plugins with the usual cache directory makes it, and it stays. */
const CNI_LOCK = '/var/lib/cni/keelson.lock';

/** Directories where Keelson, its runtimes and the plugins keep their records. */
async function files(): Promise<string[]> {
  const directories = [
    '/run/netns',
    '/run/keelson',
    '/var/lib/keelson',
    '/run/crun',
    '/run/runc',
    '/run/runsc',
    '/var/lib/cni',
    '/var/lib/cni/networks',
    '/var/lib/cni/results',
  ];
  const parts = await Promise.all(
    directories.map(async (directory) => {
      const names = await readdir(directory).catch(() => []);
      return names.map((name) => join(directory, name));
    }),
  );
  const temporary = (await readdir(tmpdir())).filter((name) => name.startsWith('keelson'));
  const paths = [...parts.flat(), ...temporary.map((name) => join(tmpdir(), name))];
  return paths.filter((path) => path !== CNI_LOCK).map((path) => `file ${path}`);
}

/** A process with its parent and command line. */
export interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** All processes but zombies. */
export async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name));
  const all = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined);
      if (stat === undefined) return [];
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z' || state === 'X') return [];
      const arguments_ = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      const exe = await readlink(`/proc/${pid}/exe`).catch(() => '');
      const command = arguments_.replaceAll('\0', ' ').trim() || exe;
      return [{ pid: Number(pid), parent: Number(parent), command }];
    }),
  );
  return all.flat();
}
