/**
 * Times the life of a pod with one container, RPC by RPC, against Keelson and against the
 * containerd of this host with runc: the same client, image, network and cgroup parent,
 * in rounds that take turns.
 *
 *     npm run bench -- [--runs 10] [--rounds 3] [--only keelson|containerd]
 *                      [--handler runc] [--json]
 *
 * Keelson uses crun, its default, unless --handler names another of its runtimes.
 */
import { readdir, rmdir } from 'node:fs/promises';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRegistry } from '../test/fixtures/registry.ts';
import {
  type CriClient,
  containerConfig,
  output,
  podConfig,
  prepareDaemon,
} from '../test/harness/index.ts';
import { startContainerd } from './containerd.ts';
import { pushImages } from './images.ts';
import { median, quantile } from './statistics.ts';

const CALLS = [
  'RunPodSandbox',
  'CreateContainer',
  'StartContainer',
  'ExecSync',
  'StopContainer',
  'RemoveContainer',
  'StopPodSandbox',
  'RemovePodSandbox',
] as const;

type Call = (typeof CALLS)[number];
/** Milliseconds of each call of one run. */
type Run = Record<Call, number>;

/** A process with PID 1 ignores SIGTERM unless it asks for it. */
const SLEEP = ['/bin/sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'];

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    handler: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});

interface Setting {
  /** The runtime handler of each peer. */
  handlers: Record<string, string>;
  image: string;
  logs: string;
  cgroupParent: string;
}

async function main(): Promise<void> {
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) console.error(`The machine is not idle (load ${load.toFixed(1)}).`);
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const images = await pushImages(registry);
  const daemon = stack.use(await prepareDaemon());
  const clients = new Map<string, CriClient>();
  if (options.only !== 'keelson') {
    const containerd = await startContainerd({
      sandboxImage: images.pause,
      cniConfDir: daemon.paths.cniConfDir,
      registryConfigDir: daemon.paths.registryConfigDir,
    });
    clients.set('containerd', stack.use(containerd).client);
  }
  if (options.only !== 'containerd') {
    await daemon.start();
    clients.set('keelson', daemon.client);
  }
  const setting: Setting = {
    handlers: { keelson: options.handler, containerd: '' },
    image: images.busybox,
    logs: daemon.paths.logs,
    cgroupParent: `/keelson-bench-${process.pid}`,
  };
  stack.defer(() => removeCgroups(setting.cgroupParent));
  for (const { images } of clients.values()) {
    await images.pullImage({ image: { image: setting.image } });
  }
  report(await takeTurns(clients, setting), await versionsOf(clients));
}

/** Rounds take turns, so that what else the machine does meets all alike. */
async function takeTurns(
  clients: ReadonlyMap<string, CriClient>,
  setting: Setting,
): Promise<Map<string, Run[]>> {
  const results = new Map<string, Run[]>();
  const run = (name: string, client: CriClient) =>
    runPod(client, setting, setting.handlers[name] ?? '');
  for (const [name, client] of clients) {
    for (let warmUp = 0; warmUp < 2; warmUp++) await run(name, client);
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const [name, client] of clients) {
      const runs = results.get(name) ?? [];
      for (let count = 0; count < Number(options.runs); count++) {
        runs.push(await run(name, client));
      }
      results.set(name, runs);
    }
  }
  return results;
}

async function runPod(
  { runtime }: CriClient,
  setting: Setting,
  runtimeHandler: string,
): Promise<Run> {
  const times: Partial<Run> = {};
  const timed = async <T>(call: Call, work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const answer = await work();
    times[call] = performance.now() - start;
    return answer;
  };
  const sandboxConfig = podConfig({ linux: { cgroupParent: setting.cgroupParent } });
  sandboxConfig.logDirectory = join(setting.logs, sandboxConfig.metadata?.uid ?? '');
  const config = containerConfig(setting.image, { command: SLEEP });

  const { podSandboxId } = await timed('RunPodSandbox', () =>
    runtime.runPodSandbox({ config: sandboxConfig, runtimeHandler }),
  );
  const { containerId } = await timed('CreateContainer', () =>
    runtime.createContainer({ podSandboxId, config, sandboxConfig }),
  );
  await timed('StartContainer', () => runtime.startContainer({ containerId }));
  const { exitCode } = await timed('ExecSync', () =>
    runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 10 }),
  );
  if (exitCode !== 0) throw new Error(`/bin/true ended with ${exitCode}`);
  await timed('StopContainer', () => runtime.stopContainer({ containerId, timeout: 10 }));
  await timed('RemoveContainer', () => runtime.removeContainer({ containerId }));
  await timed('StopPodSandbox', () => runtime.stopPodSandbox({ podSandboxId }));
  await timed('RemovePodSandbox', () => runtime.removePodSandbox({ podSandboxId }));
  return times as Run;
}

const SUMS: Record<string, readonly Call[]> = {
  'pod up': ['RunPodSandbox', 'CreateContainer', 'StartContainer'],
  'pod down': ['StopContainer', 'RemoveContainer', 'StopPodSandbox', 'RemovePodSandbox'],
};

/** Milliseconds of each call and sum, over all runs. */
function series(runs: readonly Run[]): Map<string, number[]> {
  const sums = Object.entries(SUMS).map(([name, calls]) => {
    const values = runs.map((run) => calls.reduce((sum, call) => sum + run[call], 0));
    return [name, values] as const;
  });
  return new Map([...CALLS.map((call) => [call, runs.map((run) => run[call])] as const), ...sums]);
}

function report(results: ReadonlyMap<string, Run[]>, versions: Record<string, string>): void {
  const names = [...results.keys()];
  const all = new Map([...results].map(([name, runs]) => [name, series(runs)]));
  const rows = [...CALLS, ...Object.keys(SUMS)].map((what) => {
    const values = names.map((name) => all.get(name)?.get(what) ?? []);
    return { what, medians: values.map(median), p90: values.map((each) => quantile(each, 0.9)) };
  });
  const runs = Number(options.runs) * Number(options.rounds);
  if (options.json) {
    const host = { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() };
    console.log(JSON.stringify({ host, versions, runs, names, rows }, undefined, 2));
    return;
  }
  for (const [name, version] of Object.entries(versions)) console.log(`${name}: ${version}`);
  console.log(`\nMilliseconds, medians of ${runs} runs:\n`);
  console.log(line(['', ...names, names.length === 2 ? 'ratio' : '']));
  for (const { what, medians } of rows) {
    const [first = 1, second] = medians;
    const ratio = second === undefined ? '' : (second / first).toFixed(2);
    console.log(line([what, ...medians.map((value) => value.toFixed(1)), ratio]));
  }
}

function line(cells: readonly string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(18) : cell.padStart(12))).join('');
}

async function versionsOf(
  clients: ReadonlyMap<string, CriClient>,
): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const [name, { runtime }] of clients) {
    const { runtimeName, runtimeVersion } = await runtime.version();
    versions[name] = `${runtimeName} ${runtimeVersion}`;
  }
  for (const program of ['runc', 'crun']) {
    versions[program] = (await output(program, '--version')).split('\n')[0] ?? '';
  }
  return versions;
}

/** The runtimes make the parent in each hierarchy and leave it there for its owner. */
async function removeCgroups(parent: string): Promise<void> {
  const root = '/sys/fs/cgroup';
  const hierarchies = [root, ...(await readdir(root)).map((name) => join(root, name))];
  for (const hierarchy of hierarchies) await rmdir(join(hierarchy, parent)).catch(() => {});
}

await main();
