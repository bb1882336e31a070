import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { NEVER, SILENT } from '../../src/base/index.ts';
import {
  type Attachment,
  builtinPlugins,
  CniEngine,
  CniRuntime,
  ExecInvoker,
  type NetworkList,
  type PodAttachment,
  parseNetworkList,
  SelectingInvoker,
} from '../../src/cni/index.ts';
import type { Bench } from './plugin-harness.ts';

export const BRIDGE = 'stress0';

/** The plugins of this process, with Debian's for what is not built in. */
export function ownInvoker(): SelectingInvoker {
  return new SelectingInvoker({
    builtIns: builtinPlugins(),
    programs: new ExecInvoker(),
    overrideDirs: [],
  });
}

export function ownRuntime(bench: Bench): CniRuntime {
  return new CniRuntime({ invoker: ownInvoker(), binDirs: [], cacheDir: bench.path('cache') });
}

/** A network of bridge, host-local and portmap. */
export function stressNetwork(bench: Bench, subnet = '10.77.0.0/16') {
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet }]],
    routes: [{ dst: '0.0.0.0/0' }],
    dataDir: bench.path('ipam'),
  };
  return {
    cniVersion: '1.1.0',
    name: 'stress',
    plugins: [
      { type: 'bridge', bridge: BRIDGE, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}

export function stressList(bench: Bench, subnet?: string): NetworkList {
  return parseNetworkList(stressNetwork(bench, subnet), 'the test');
}

export function attachment(containerId: string, netns: string, hostPort?: number): Attachment {
  return {
    ...{ containerId, netns, ifname: 'eth0', args: [] },
    capabilityArgs:
      hostPort === undefined
        ? {}
        : { portMappings: [{ hostPort, containerPort: 80, protocol: 'tcp' }] },
  };
}

export function podAttachment(containerId: string, netns: string): PodAttachment {
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' as const }];
  return { containerId, netns, podName: 'p', podNamespace: 'n', podUid: 'u', portMappings };
}

export function openEngine(bench: { path(name: string): string }, network: object) {
  return CniEngine.open({
    ...{ confDir: '/absent', binDirs: [], logger: SILENT, defaultNetwork: network },
    cacheDir: bench.path('cache'),
    stateDir: bench.path('state'),
    invoker: ownInvoker(),
  });
}

/**
 * What is left on the host besides the bridge itself: links, elements and rules of
 * nftables that belong to containers, addresses given out, cached results, records.
 */
export function leftovers(bench: Bench): string[] {
  const json = (program: string, ...args: string[]) =>
    JSON.parse(spawnSync(program, args, { encoding: 'utf8' }).stdout || '[]');
  const links = (json('ip', '-json', 'link') as { ifname: string }[])
    .map(({ ifname }) => ifname)
    .filter((name) => name !== 'lo' && name !== BRIDGE);
  const ruleset = json('nft', '-j', 'list', 'ruleset') as { nftables: object[] };
  const elements = ruleset.nftables.flatMap((item) =>
    'map' in item ? ((item.map as { elem?: unknown[] }).elem ?? []) : [],
  );
  const rules = spawnSync('iptables-save', { encoding: 'utf8' }).stdout.split('\n');
  const files = ['ipam', 'cache/results', 'state'].flatMap((name) =>
    readdirSync(bench.path(name), { recursive: true, encoding: 'utf8' }),
  );
  const left = [
    ...links,
    ...elements.map((element) => JSON.stringify(element)),
    ...rules.filter((line) => line.includes(' id: ')),
    ...files.filter((name) => !/^(stress|attachments)$|\/(lock|last_reserved_ip\.0)$/.test(name)),
  ];
  return left.length > 10 ? [...left.slice(0, 10), `and ${left.length - 10} more`] : left;
}

export const forever = NEVER;
