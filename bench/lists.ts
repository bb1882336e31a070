/**
 * Times ListContainers with many containers, against Keelson and against the containerd of
 * this host: the same client and image, in rounds that take turns. The containers are
 * created and not started, in pods on the host's network. Then tells how much memory the
 * daemon has with some numbers of containers, and with subscribers of events.
 *
 *     npm run bench:lists -- [--containers 500] [--rounds 5] [--calls 100] [--only keelson]
 */
import { readFile } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { NamespaceMode } from '../src/gen/runtime/v1/api.ts';
import { startRegistry } from '../test/fixtures/registry.ts';
import {
  type CriClient,
  containerConfig,
  podConfig,
  prepareDaemon,
} from '../test/harness/index.ts';
import { startContainerd } from './containerd.ts';
import { pushImages } from './images.ts';
import { median, quantile } from './statistics.ts';

const { values: options } = parseArgs({
  options: {
    containers: { type: 'string', default: '500' },
    rounds: { type: 'string', default: '5' },
    calls: { type: 'string', default: '100' },
    only: { type: 'string', default: '' },
  },
});

/** Containers of one pod. */
const PER_POD = 10;
/** With how many containers the memory is looked at. */
const STEPS = [50, 200];
const SUBSCRIBERS = 10;
/** Milliseconds until memory has settled; workers that unpacked an image end after ten seconds. */
const REST = 3000;
const REST_AFTER_PULL = 15_000;

interface Peer {
  name: string;
  client: CriClient;
  pid: number;
}

async function main(): Promise<void> {
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) console.error(`The machine is not idle (load ${load.toFixed(1)}).`);
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const images = await pushImages(registry);
  // By its launcher, as users start it: that sets the memory of Node.
  const command = [new URL('../keelson', import.meta.url).pathname];
  const daemon = stack.use(await prepareDaemon({ command }));
  const peers: Peer[] = [];
  if (options.only !== 'keelson') {
    const { cniConfDir, registryConfigDir } = daemon.paths;
    const settings = { sandboxImage: images.pause, cniConfDir, registryConfigDir };
    const containerd = stack.use(await startContainerd(settings));
    peers.push({ name: 'containerd', client: containerd.client, pid: containerd.pid });
    stack.defer(() => removePods(containerd.client));
  }
  await daemon.start();
  const keelson = { name: 'keelson', client: daemon.client, pid: daemon.pid };
  peers.push(keelson);
  const image = images.busybox;
  for (const { client } of peers) await client.images.pullImage({ image: { image } });
  const count = Number(options.containers);
  await sleep(REST_AFTER_PULL);
  await tellMemory('0 containers', peers);
  let made = 0;
  for (const step of [...STEPS.filter((each) => each < count), count]) {
    for (const { client } of peers)
      await make(client, { image, logs: daemon.paths.logs, count: step - made });
    made = step;
    await tellMemory(`${made} containers`, peers);
  }
  // Some to warm up; then memory should stay as it is.
  await takeTurns(peers, 1);
  await tellMemory(`${made} containers, after ${options.calls} lists`, peers);
  const rounds = Number(options.rounds);
  report(await takeTurns(peers, rounds));
  const calls = Number(options.calls) * (rounds + 1);
  await tellMemory(`${made} containers, after ${calls} lists`, peers);
  const streams = Array.from({ length: SUBSCRIBERS }, () =>
    keelson.client.runtime.getContainerEvents(),
  );
  for (const stream of streams) stream.on('data', () => {}).on('error', () => {});
  await tellMemory(`${made} containers, ${SUBSCRIBERS} subscribers`, [keelson]);
  await make(keelson.client, { image, logs: daemon.paths.logs, count: 50 });
  await tellMemory(`${made + 50} containers, ${SUBSCRIBERS} subscribers`, [keelson]);
  for (const stream of streams) stream.cancel();
}

async function make(
  { runtime }: CriClient,
  { image, logs, count }: { image: string; logs: string; count: number },
): Promise<void> {
  for (let done = 0; done < count; done += PER_POD) {
    const sandboxConfig = podConfig({
      // The host's: containerd sets no other one without a namespace for it.
      hostname: '',
      linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
    });
    sandboxConfig.logDirectory = join(logs, sandboxConfig.metadata?.uid ?? '');
    const { podSandboxId } = await runtime.runPodSandbox({ config: sandboxConfig });
    for (let n = 0; n < Math.min(PER_POD, count - done); n++) {
      const config = containerConfig(image, {
        labels: { ...sandboxConfig.labels, 'io.kubernetes.container.name': `container-${n}` },
        annotations: {
          'io.kubernetes.container.hash': 'a1b2c3d4',
          'io.kubernetes.container.restartCount': '0',
          'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
          'io.kubernetes.container.terminationMessagePolicy': 'File',
          'io.kubernetes.pod.terminationGracePeriod': '30',
        },
        linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
      });
      await runtime.createContainer({ podSandboxId, config, sandboxConfig });
    }
  }
}

/** Milliseconds of each call, by peer. */
async function takeTurns(peers: readonly Peer[], rounds: number): Promise<Map<string, number[]>> {
  const times = new Map(peers.map(({ name }): [string, number[]] => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, client } of peers) {
      for (let call = 0; call < Number(options.calls); call++) {
        const start = performance.now();
        await client.runtime.listContainers();
        times.get(name)?.push(performance.now() - start);
      }
    }
  }
  return times;
}

function report(times: ReadonlyMap<string, number[]>): void {
  const calls = Number(options.calls) * Number(options.rounds);
  console.log(`\nListContainers of ${options.containers}, milliseconds, ${calls} calls:`);
  for (const [name, values] of times) {
    const [p50, p90, p99] = [median(values), quantile(values, 0.9), quantile(values, 0.99)];
    console.log(
      `${name.padEnd(12)} p50 ${p50.toFixed(2)}  p90 ${p90.toFixed(2)}  p99 ${p99.toFixed(2)}`,
    );
  }
  console.log('');
}

async function tellMemory(when: string, peers: readonly Peer[]): Promise<void> {
  await sleep(REST);
  const all = await Promise.all(
    peers.map(async ({ name, pid }) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      const kibibytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
      return `${name} ${(kibibytes / 1024).toFixed(0)} MiB`;
    }),
  );
  console.log(`RSS with ${when}: ${all.join(', ')}`);
}

async function removePods({ runtime }: CriClient): Promise<void> {
  for (const { id } of (await runtime.listPodSandbox()).items) {
    await runtime.stopPodSandbox({ podSandboxId: id });
    await runtime.removePodSandbox({ podSandboxId: id });
  }
}

await main();
