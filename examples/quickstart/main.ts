/**
 * Command 1, `npm run quickstart`: the main job of Keelson, end to end. A registry on
 * loopback gets an image made from Debian's busybox; a daemon with directories of its own
 * pulls it and runs a pod with a web server from it.
 *
 *     npm run quickstart              does it all and cleans up
 *     npm run quickstart -- --keep    leaves it running until Ctrl-C, to try commands on it
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRegistry } from '../../test/fixtures/registry.ts';
import { containerConfig, outputOrNothing, podConfig, waitFor } from '../../test/harness/index.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { PORT, pushWebServer } from './image.ts';
import { Steps } from './steps.ts';

const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });

/** The daemon's embedded network: its bridge, where its addresses are noted, its nftables. */
const BRIDGE = 'keelson0';
const LEASES = '/var/lib/cni/networks/keelson';
const TABLES = ['inet keelson_masquerade', 'ip keelson_hostport'];

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('pods need root: run this as root');
  const steps = new Steps(interruption());
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'keelson-quickstart-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));

  console.log('A registry and an image\n');
  const registry = stack.use(await steps.run('start docker-registry', startRegistry));
  const image = await steps.run(
    "build an image from Debian's busybox, push it",
    () => pushWebServer(registry),
    (reference) => reference,
  );

  console.log('\nA daemon and a pod\n');
  stack.defer(await forgetNetwork());
  const daemon = stack.use(await steps.run('start "keelson serve"', () => startDaemon(directory)));
  await steps.run('keelson pull', () => daemon.keelson('pull', image));
  const pod = await startPod(steps, stack, { daemon, image, logs: join(directory, 'logs') });

  console.log('\nUse it\n');
  await usePod(steps, daemon, pod);
  const up = steps.sum('RunPodSandbox', 'CreateContainer', 'StartContainer');
  console.log(`\nThe pod was up in ${up}.\n`);
  if (options.keep) await stayUp(daemon.socket, pod.containerId, steps.signal);
  console.log('Clean up\n');
}

interface Pod {
  podSandboxId: string;
  containerId: string;
}

/** Starts a pod, which the stack takes away again. */
async function startPod(
  steps: Steps,
  stack: AsyncDisposableStack,
  { daemon, image, logs }: { daemon: Daemon; image: string; logs: string },
): Promise<Pod> {
  const { runtime } = daemon.client;
  const sandboxConfig = podConfig({ metadata: { name: 'web' }, logDirectory: logs });
  const { podSandboxId } = await steps.run('RunPodSandbox', () =>
    runtime.runPodSandbox({ config: sandboxConfig }),
  );
  stack.defer(async () => {
    await steps.always('StopPodSandbox', () => runtime.stopPodSandbox({ podSandboxId }));
    await steps.always('RemovePodSandbox', () => runtime.removePodSandbox({ podSandboxId }));
  });
  const config = containerConfig(image, {
    metadata: { name: 'server' },
    // The image says what to run.
    command: [],
    labels: sandboxConfig.labels,
  });
  const { containerId } = await steps.run('CreateContainer', () =>
    runtime.createContainer({ podSandboxId, config, sandboxConfig }),
  );
  await steps.run('StartContainer', () => runtime.startContainer({ containerId }));
  return { podSandboxId, containerId };
}

async function usePod(steps: Steps, daemon: Daemon, pod: Pod): Promise<void> {
  const { podSandboxId, containerId } = pod;
  const { runtime } = daemon.client;
  const { status } = await runtime.podSandboxStatus({ podSandboxId });
  const url = `http://${status?.network?.ip}:${PORT}/`;
  await steps.run(`fetch ${url}`, () => fetchPage(url), String);
  await steps.run('keelson logs', () => daemon.keelson('logs', containerId));
  await steps.run(
    'ExecSync "uname -a; ps"',
    () => runtime.execSync({ containerId, cmd: ['sh', '-c', 'uname -a; ps'] }),
    ({ stdout }) => stdout.toString(),
  );
}

/** Removes what the embedded network keeps for the next pods, if it was not there before. */
async function forgetNetwork(): Promise<() => Promise<void>> {
  const hadBridge = networkInterfaces()[BRIDGE] !== undefined;
  const hadLeases = existsSync(LEASES);
  const tables = await outputOrNothing('nft', 'list', 'tables');
  return async () => {
    if (!hadBridge) await outputOrNothing('ip', 'link', 'delete', BRIDGE);
    if (!hadLeases) await rm(LEASES, { recursive: true, force: true });
    for (const table of TABLES) {
      if (!tables.includes(`table ${table}`)) await outputOrNothing('nft', `delete table ${table}`);
    }
  };
}

/** The server listens a moment after its start. */
function fetchPage(url: string): Promise<string> {
  return waitFor('a page', async () => {
    const response = await fetch(url, { signal: AbortSignal.timeout(1000) });
    return response.ok ? response.text() : undefined;
  });
}

/** Aborts on Ctrl-C: what was begun is cleaned up. */
function interruption(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => abort.abort(new Error('interrupted')));
  }
  return abort.signal;
}

async function stayUp(socket: string, containerId: string, signal: AbortSignal): Promise<void> {
  const id = containerId.slice(0, 13);
  console.log(`All of it stays up. In another terminal:

  export KEELSON_SOCKET=${socket}
  ./keelson pods
  ./keelson ps
  ./keelson logs -f ${id}
  ./keelson inspect ${id}

Ctrl-C ends it and cleans up.
`);
  const alive = setInterval(() => {}, 60_000);
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  clearInterval(alive);
  console.log();
}

await main().catch((error: unknown) => {
  console.error(`\nThe quick start failed: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});
