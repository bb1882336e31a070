/**
 * Times ADD and DEL of a bridge network with host-local addresses and one host port,
 * through the CNI engine: with the built-in plugins, and with the programs of the
 * reference. Rounds take turns, in a network namespace of its own that plays the host.
 *
 *     npm run bench:cni -- [--runs 20] [--rounds 5] [--bin /usr/lib/cni] [--json]
 *
 * Only ADD and DEL are timed; making and removing the pod's namespace is not.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NEVER } from '../src/base/index.ts';
import {
  bridgeNetwork,
  builtinPlugins,
  CniRuntime,
  ExecInvoker,
  type NetworkList,
  type PluginInvoker,
  parseNetworkList,
  SelectingInvoker,
} from '../src/cni/index.ts';
import {
  createPinnedNamespace,
  raw,
  removePinnedNamespace,
  setLoopbackUp,
} from '../src/linux/index.ts';
import { median, quantile } from './statistics.ts';

const CLONE_NEWNET = 0x40000000;

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '5' },
    bin: { type: 'string', default: '/usr/lib/cni' },
    json: { type: 'boolean', default: false },
  },
});

/** Milliseconds of each run. */
interface Times {
  add: number[];
  del: number[];
  both: number[];
}

interface Contestant {
  name: string;
  runtime: CniRuntime;
  list: NetworkList;
  times: Times;
}

async function main(): Promise<void> {
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) console.error(`The machine is not idle (load ${load.toFixed(1)}).`);
  const directory = await mkdtemp(join(tmpdir(), 'keelson-bench-'));
  try {
    if (raw.unshare(CLONE_NEWNET) !== 0) throw new Error('cannot unshare the network namespace');
    setLoopbackUp();
    await compare(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function compare(directory: string): Promise<void> {
  const programs = new ExecInvoker();
  const builtIns = builtinPlugins();
  const contestants = [
    contestant(
      directory,
      'builtin',
      new SelectingInvoker({ builtIns, programs, overrideDirs: [] }),
    ),
    contestant(directory, 'exec', programs),
  ];
  // Builds bridge, tables and caches.
  for (const each of contestants) {
    for (let warmUp = 0; warmUp < 3; warmUp++) await run(directory, each);
    each.times = { add: [], del: [], both: [] };
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const each of contestants) {
      for (let count = 0; count < Number(options.runs); count++) await run(directory, each);
    }
  }
  report(contestants);
}

/** Each has a bridge and rules of its own, of the same form. */
function contestant(directory: string, name: string, invoker: PluginInvoker): Contestant {
  const dataDir = join(directory, name, 'ipam');
  const subnets = [name === 'exec' ? '10.71.0.0/16' : '10.72.0.0/16'];
  const network = bridgeNetwork({ name, bridge: `bench-${name}`, subnets, dataDir });
  return {
    name,
    runtime: new CniRuntime({
      ...{ invoker, binDirs: [options.bin], cacheDir: join(directory, name, 'cache') },
    }),
    list: parseNetworkList(network, name),
    times: { add: [], del: [], both: [] },
  };
}

let runs = 0;

async function run(directory: string, { runtime, list, times }: Contestant): Promise<void> {
  const netns = join(directory, `pod-${runs++}`);
  createPinnedNamespace('net', netns, setLoopbackUp);
  try {
    const place = {
      ...{ containerId: `c${runs}`, netns, ifname: 'eth0', args: [] },
      capabilityArgs: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] },
    };
    const start = performance.now();
    await runtime.addNetworkList(list, place, NEVER);
    const middle = performance.now();
    await runtime.delNetworkList(list, place, NEVER);
    const end = performance.now();
    times.add.push(middle - start);
    times.del.push(end - middle);
    times.both.push(end - start);
  } finally {
    await removePinnedNamespace(netns);
  }
}

function report(contestants: readonly Contestant[]): void {
  const [builtin, exec] = contestants.map(({ times }) => times);
  if (builtin === undefined || exec === undefined) return;
  const rows = (['add', 'del', 'both'] as const).map((key) => ({
    call: { add: 'ADD', del: 'DEL', both: 'ADD + DEL' }[key],
    'built-in, ms': round(median(builtin[key])),
    '90 %': round(quantile(builtin[key], 0.9)),
    'programs, ms': round(median(exec[key])),
    '90 % ': round(quantile(exec[key], 0.9)),
    ratio: round(median(builtin[key]) / median(exec[key])),
  }));
  if (options.json) {
    console.log(JSON.stringify({ rows, runs: builtin.both.length }));
    return;
  }
  console.log(
    `${builtin.both.length} runs each, medians; ${cpus().length} CPUs, Linux ${release()}, Node.js ${process.version}`,
  );
  console.table(rows);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

await main();
