/**
 * Times exec, attach and port-forward, against Keelson and against the containerd of this
 * host: the same client over WebSocket, image and network, in rounds that take turns.
 *
 *     sh scripts/with-setup.sh --bench bench/streaming.ts [--rounds 3] [--runs 20] [--json]
 */
import { once } from 'node:events';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocket } from 'ws';
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

const MEGABYTE = 1_000_000;
/** Bytes of one transfer: enough that beginning and end do not count. */
const BULK = 100 * MEGABYTE;
/** What attach transfers, all of which goes to the log, too. */
const LOGGED = 30 * MEGABYTE;
const CHUNK = Buffer.alloc(32 * 1024, 'x');
const PORT = 8080;
const STDOUT = 1;
/** What serves a bulk transfer to whoever connects, and one to whoever asks on stdin. */
const SERVER =
  `nc -ll -p ${PORT} -e head -c ${BULK} /dev/zero & ` +
  `while read line; do head -c ${LOGGED} /dev/zero; done`;

const MEASURES = [
  'exec, ms',
  'exec out, MB/s',
  'exec in, MB/s',
  'attach, MB/s',
  'port-forward, MB/s',
];

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    runs: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
  },
});

/** A pod with its one container, and who runs it. */
interface Target {
  name: string;
  client: CriClient;
  podSandboxId: string;
  containerId: string;
}

interface Setting {
  image: string;
  logs: string;
}

async function main(): Promise<void> {
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) console.error(`The machine is not idle (load ${load.toFixed(1)}).`);
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const images = await pushImages(registry);
  const daemon = stack.use(await prepareDaemon());
  const containerd = stack.use(
    await startContainerd({
      sandboxImage: images.pause,
      cniConfDir: daemon.paths.cniConfDir,
      registryConfigDir: daemon.paths.registryConfigDir,
    }),
  );
  await daemon.start();
  const setting = { image: images.busybox, logs: daemon.paths.logs };
  const targets: Target[] = [];
  for (const [name, client, handler] of [
    ['containerd, runc', containerd.client, ''],
    ['Keelson, runc', daemon.client, 'runc'],
    ['Keelson, crun', daemon.client, 'crun'],
  ] as const) {
    await client.images.pullImage({ image: { image: setting.image } });
    const target = await startTarget(name, { client, handler }, setting);
    stack.defer(() => removeTarget(target));
    targets.push(target);
  }
  await report(targets, await takeTurns(targets));
}

async function startTarget(
  name: string,
  { client, handler }: { client: CriClient; handler: string },
  { image, logs }: Setting,
): Promise<Target> {
  const sandboxConfig = podConfig();
  sandboxConfig.logDirectory = join(logs, sandboxConfig.metadata?.uid ?? '');
  const { podSandboxId } = await client.runtime.runPodSandbox({
    config: sandboxConfig,
    runtimeHandler: handler,
  });
  const config = containerConfig(image, { command: ['/bin/sh', '-c', SERVER], stdin: true });
  const { containerId } = await client.runtime.createContainer({
    ...{ podSandboxId, config, sandboxConfig },
  });
  await client.runtime.startContainer({ containerId });
  return { name, client, podSandboxId, containerId };
}

async function removeTarget({ client: { runtime }, podSandboxId }: Target): Promise<void> {
  await runtime.stopPodSandbox({ podSandboxId });
  await runtime.removePodSandbox({ podSandboxId });
}

/** Rounds take turns, so that what else the machine does meets all alike. */
async function takeTurns(targets: readonly Target[]): Promise<Map<Target, number[][]>> {
  const results = new Map(targets.map((each) => [each, MEASURES.map((): number[] => [])]));
  for (const target of targets) await exec(target, ['/bin/true']);
  for (let round = 0; round < Number(options.rounds); round++) {
    for (const [target, series] of results) {
      for (let run = 0; run < Number(options.runs); run++) {
        series[0]?.push(await timed(() => exec(target, ['/bin/true'])));
      }
    }
    for (const [index, transfer] of [execOut, execIn, attach, portForward].entries()) {
      for (const [target, series] of results) series[index + 1]?.push(await transfer(target));
    }
  }
  return results;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Calls back with the bytes of each message; resolves when open. */
async function open(url: string, onData: (channel: number, bytes: number) => void) {
  const socket = new WebSocket(url.replace('http', 'ws'), 'v4.channel.k8s.io', {
    perMessageDeflate: false,
  });
  const closed = once(socket, 'close');
  socket.on('message', (data: Buffer) => onData(data[0] ?? 0, data.length - 1));
  await once(socket, 'open');
  return { socket, closed };
}

async function exec(
  { client, containerId }: Target,
  cmd: string[],
  onData: (channel: number, bytes: number) => void = () => {},
): Promise<void> {
  const { url } = await client.runtime.exec({ containerId, cmd, stdout: true, stderr: true });
  await (await open(url, onData)).closed;
}

async function execOut(target: Target): Promise<number> {
  let received = 0;
  const count = (channel: number, bytes: number) => {
    if (channel === STDOUT) received += bytes;
  };
  const time = await timed(() => exec(target, ['head', '-c', String(BULK), '/dev/zero'], count));
  return speed(target, received, BULK, time);
}

/** The command reads so much, says how much that was, and ends. */
async function execIn(target: Target): Promise<number> {
  const { client, containerId } = target;
  const cmd = ['sh', '-c', `head -c ${BULK} | wc -c`];
  let said = '';
  const time = await timed(async () => {
    const { url } = await client.runtime.exec({ containerId, cmd, stdin: true, stdout: true });
    const { socket, closed } = await open(url, () => {});
    socket.on('message', (data: Buffer) => {
      if (data[0] === STDOUT) said += data.toString('utf8', 1);
    });
    const message = Buffer.concat([Buffer.of(0), CHUNK]);
    for (let sent = 0; sent < BULK && socket.readyState === WebSocket.OPEN; sent += CHUNK.length) {
      await new Promise<void>((resolve) => socket.send(message, () => resolve()));
    }
    await closed;
  });
  return speed(target, Number(said), BULK, time);
}

async function attach(target: Target): Promise<number> {
  const { client, containerId } = target;
  const { url } = await client.runtime.attach({ containerId, stdin: true, stdout: true });
  const done = Promise.withResolvers<void>();
  let received = 0;
  const { socket, closed } = await open(url, (channel, bytes) => {
    if (channel === STDOUT) received += bytes;
    if (received >= LOGGED) done.resolve();
  });
  const time = await timed(() => {
    socket.send(Buffer.from('\0go\n'));
    return Promise.race([done.promise, closed]);
  });
  socket.close();
  await closed;
  return speed(target, received, LOGGED, time);
}

async function portForward(target: Target): Promise<number> {
  const { client, podSandboxId } = target;
  const done = Promise.withResolvers<void>();
  let received = -2; // The first message repeats the port.
  const time = await timed(async () => {
    const { url } = await client.runtime.portForward({ podSandboxId, port: [PORT] });
    const { socket, closed } = await open(url, (channel, bytes) => {
      if (channel === 0) received += bytes;
      if (received >= BULK) done.resolve();
    });
    await Promise.race([done.promise, closed]);
    socket.close();
    await closed;
  });
  return speed(target, received, BULK, time);
}

/** MB/s of a transfer that must be complete. */
function speed(target: Target, received: number, expected: number, milliseconds: number): number {
  if (received !== expected) {
    throw new Error(`${target.name}: ${received} of ${expected} bytes came`);
  }
  return received / MEGABYTE / (milliseconds / 1000);
}

async function report(
  targets: readonly Target[],
  results: ReadonlyMap<Target, number[][]>,
): Promise<void> {
  const names = targets.map(({ name }) => name);
  const seriesOf = (index: number) => targets.map((each) => results.get(each)?.[index] ?? []);
  const rows = MEASURES.map((what, index) => ({ what, values: seriesOf(index).map(median) }));
  rows.splice(1, 0, {
    what: 'exec p99, ms',
    values: seriesOf(0).map((values) => quantile(values, 0.99)),
  });
  if (options.json) {
    const host = { cpu: cpus()[0]?.model, cores: cpus().length, kernel: release() };
    const containerd = (await output('containerd', '--version')).trim();
    console.log(JSON.stringify({ host, containerd, names, rows }, undefined, 2));
    return;
  }
  console.log(line(['medians', ...names, ...names.slice(1).map((name) => `${name} /`)]));
  for (const { what, values } of rows) {
    const [first = 1, ...others] = values;
    const ratios = others.map((value) => (value / first).toFixed(2));
    console.log(line([what, ...values.map((value) => value.toFixed(1)), ...ratios]));
  }
}

function line(cells: readonly string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(20) : cell.padStart(18))).join('');
}

await main();
