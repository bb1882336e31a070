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
import { startDaemon } from './daemon.ts';
import { PORT, pushWebServer } from './image.ts';
import { Steps } from './steps.ts';

const { values: options } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });

/** The bridge of the daemon's embedded network, and where its addresses are noted. */
const BRIDGE = 'keelson0';
const LEASES = '/var/lib/cni/networks/keelson';

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('Pods need root: run this as root');
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
  if (networkInterfaces()[BRIDGE] === undefined) {
    stack.defer(async () => void (await outputOrNothing('ip', 'link', 'delete', BRIDGE)));
    if (!existsSync(LEASES)) stack.defer(() => rm(LEASES, { recursive: true, force: true }));
  }
  const daemon = stack.use(await steps.run('start "keelson serve"', () => startDaemon(directory)));
  await steps.run('keelson pull', () => daemon.keelson('pull', image));
  const { runtime } = daemon.client;
  const sandboxConfig = podConfig({
    metadata: { name: 'web' },
    logDirectory: join(directory, 'logs'),
  });
  const { podSandboxId } = await steps.run('RunPodSandbox', () =>
    runtime.runPodSandbox({ config: sandboxConfig }),
  );
  stack.defer(async () => {
    await steps.always('StopPodSandbox', () => runtime.stopPodSandbox({ podSandboxId }));
    await steps.always('RemovePodSandbox', () => runtime.removePodSandbox({ podSandboxId }));
  });
  // The image says what to run.
  const config = containerConfig(image, {
    metadata: { name: 'server' },
    command: [],
    labels: sandboxConfig.labels,
  });
  const { containerId } = await steps.run('CreateContainer', () =>
    runtime.createContainer({ podSandboxId, config, sandboxConfig }),
  );
  await steps.run('StartContainer', () => runtime.startContainer({ containerId }));

  console.log('\nUse it\n');
  const { status } = await runtime.podSandboxStatus({ podSandboxId });
  const url = `http://${status?.network?.ip}:${PORT}/`;
  await steps.run(`fetch ${url}`, () => fetchPage(url), String);
  await steps.run('keelson logs', () => daemon.keelson('logs', containerId));
  await steps.run(
    'ExecSync "uname -a; ps"',
    () => runtime.execSync({ containerId, cmd: ['sh', '-c', 'uname -a; ps'] }),
    ({ stdout }) => stdout.toString(),
  );
  const up = steps.sum('RunPodSandbox', 'CreateContainer', 'StartContainer');
  console.log(`\nThe pod was up in ${up}.\n`);
  if (options.keep) await stayUp(daemon.socket, containerId, steps.signal);
  console.log('Clean up\n');
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
