import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jsonOutput, output, outputOrNothing } from './programs.ts';

export const CNI_BIN_DIRS = ['/opt/cni/bin', '/usr/lib/cni'];

/** A bridge network of its own for one daemon, so that several live side by side. */
export interface TestNetwork {
  /** The network's name in its CNI configuration. */
  readonly name: string;
  readonly bridge: string;
  /** Such as `10.131.7.0/24`. */
  readonly subnet: string;
  readonly gateway: string;
  /** The conflist's text, to be changed by tests. */
  readonly conflist: string;
  /** What pods left behind in the kernel and in the address store: nothing, after removal. */
  leftovers(): Promise<string[]>;
  /** Removes the bridge, and what pods left behind. */
  remove(): Promise<void>;
}

/** Writes `10-test.conflist` into `confDir`; leases are kept in `dataDir`. */
export async function createNetwork(confDir: string, dataDir: string): Promise<TestNetwork> {
  const tag = randomBytes(3).toString('hex');
  const name = `keelson-test-${tag}`;
  const bridge = `kt${tag}`;
  const { subnet, gateway } = await freeSubnet();
  const conflist = JSON.stringify(
    {
      cniVersion: '1.0.0',
      name,
      plugins: [
        {
          type: 'bridge',
          bridge,
          isGateway: true,
          ipMasq: true,
          hairpinMode: true,
          ipam: {
            type: 'host-local',
            dataDir,
            ranges: [[{ subnet }]],
            routes: [{ dst: '0.0.0.0/0' }],
          },
        },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    },
    undefined,
    2,
  );
  await mkdir(confDir, { recursive: true });
  await writeFile(join(confDir, '10-test.conflist'), conflist);
  return {
    name,
    bridge,
    subnet,
    gateway,
    conflist,
    leftovers: () => leftovers({ name, bridge, dataDir }),
    remove: () => remove({ name, bridge, subnet }),
  };
}

/** A /24 of 10.128.0.0/9 that no interface of this host has. */
async function freeSubnet(): Promise<{ subnet: string; gateway: string }> {
  const routes = await outputOrNothing('ip', '-4', 'route', 'show', 'table', 'all');
  for (;;) {
    const prefix = `10.${randomInt(128, 256)}.${randomInt(0, 256)}`;
    if (!routes.includes(`${prefix}.`)) {
      return { subnet: `${prefix}.0/24`, gateway: `${prefix}.1` };
    }
  }
}

interface Owned {
  name: string;
  bridge: string;
}

async function leftovers({ name, bridge, dataDir }: Owned & { dataDir: string }) {
  const found: string[] = [];
  for (const port of await portsOf(bridge)) found.push(`interface ${port} on bridge ${bridge}`);
  for (const rule of await rulesOf(name)) found.push(`iptables rule ${rule}`);
  for (const line of await nftablesOf(name)) found.push(`nftables ${line}`);
  const leases = await readdir(join(dataDir, name)).catch(() => []);
  for (const lease of leases) {
    if (/^[0-9]+\./.test(lease)) found.push(`address ${lease} of network ${name}`);
  }
  return found;
}

async function remove({ name, bridge, subnet }: Owned & { subnet: string }): Promise<void> {
  for (const port of await portsOf(bridge)) await outputOrNothing('ip', 'link', 'delete', port);
  await outputOrNothing('ip', 'link', 'delete', bridge);
  const chains = new Set<string>();
  for (const rule of await rulesOf(name)) {
    const words = wordsOf(rule);
    await outputOrNothing('iptables', '-t', 'nat', '-D', ...words.slice(1));
    for (const word of words) if (/^CNI-(DN-)?[0-9a-f]{16,}$/.test(word)) chains.add(word);
  }
  for (const chain of chains) {
    await outputOrNothing('iptables', '-t', 'nat', '-F', chain);
    await outputOrNothing('iptables', '-t', 'nat', '-X', chain);
  }
  for (const element of await elementsOf(name)) {
    await outputOrNothing('nft', `delete element ${element}`);
  }
  // The built-in plugins keep a chain for each network that they have seen.
  await outputOrNothing('nft', `delete chain inet keelson_masquerade outside_${subnet}`);
  await outputOrNothing('nft', `delete chain ip keelson_hostport inside_${subnet}`);
}

async function portsOf(bridge: string): Promise<string[]> {
  const links = await jsonOutput<{ ifname?: string }>(
    'ip',
    '-json',
    'link',
    'show',
    'master',
    bridge,
  );
  return links.flatMap((link) => link.ifname ?? []);
}

/** The plugins put the network's name into a comment on each rule. */
async function rulesOf(network: string): Promise<string[]> {
  const rules = await output('iptables-save', '-t', 'nat').catch(() => '');
  return rules.split('\n').filter((rule) => rule.startsWith('-A') && rule.includes(network));
}

/** The same for nftables, where the name is in the comments of rules and elements. */
async function nftablesOf(network: string): Promise<string[]> {
  const ruleset = await outputOrNothing('nft', 'list', 'ruleset');
  const lines = ruleset.split(/[\n,]/).map((line) => line.trim());
  // What iptables wrote is looked at on its own.
  return lines.filter((line) => line.includes(` ${network} `) && !line.startsWith('# '));
}

/** Splits a line of iptables-save, where words may be quoted. */
function wordsOf(rule: string): string[] {
  const words = rule.match(/"(?:\\.|[^"\\])*"|\S+/g) ?? [];
  return words.map((word) =>
    word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word,
  );
}

interface NftMap {
  family: string;
  table: string;
  name: string;
  elem?: [{ elem?: { val: unknown; comment?: string } }, unknown][];
}

/** Elements of maps whose comment has the network's name, as `FAMILY TABLE MAP { KEY }`. */
async function elementsOf(network: string): Promise<string[]> {
  const text = await outputOrNothing('nft', '-j', 'list', 'maps');
  if (text === '') return [];
  const { nftables } = JSON.parse(text) as { nftables: { map?: NftMap }[] };
  return nftables.flatMap(({ map }) =>
    (map?.elem ?? [])
      .filter(([{ elem }]) => elem?.comment?.includes(` ${network} `))
      .map(([{ elem }]) => `${map!.family} ${map!.table} ${map!.name} { ${keyOf(elem!.val)} }`),
  );
}

function keyOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return (value as { concat: unknown[] }).concat.join(' . ');
}
