import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NEVER, SILENT } from '../../src/base/index.ts';
import { bridgeNetwork, CniEngine, ExecInvoker } from '../../src/cni/index.ts';
import { identifyProcess } from '../../src/linux/index.ts';
import { HostNetwork } from './host-network.ts';

let network: HostNetwork;

beforeEach(async () => {
  network = await HostNetwork.create();
  await mkdir(network.path('conf'));
  const conflist = bridgeNetwork({
    name: 'crash',
    bridge: 'br0',
    subnets: ['10.90.0.0/24'],
    dataDir: network.path('ipam'),
  });
  await writeFile(network.path('conf/10.conflist'), JSON.stringify(conflist));
});

afterEach(() => network[Symbol.asyncDispose]());

/** Runs the miniature daemon and answers the signal that ended it. */
async function runDaemon(netns: string, faultPoint: string): Promise<NodeJS.Signals | null> {
  const script = new URL('attach-and-detach.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [script, network.directory, network.bin, netns], {
    env: { ...process.env, KEELSON_FAULT_POINT: faultPoint },
    stdio: 'inherit',
  });
  const [, signal] = await once(child, 'exit');
  return signal;
}

async function nextStart(): Promise<void> {
  await using engine = await CniEngine.open({
    confDir: network.path('conf'),
    binDirs: [network.bin],
    cacheDir: network.path('cache'),
    stateDir: network.path('state'),
    logger: SILENT,
    invoker: new ExecInvoker(),
  });
  await engine.collectGarbage([], NEVER);
}

async function expectNothingLeft(): Promise<void> {
  expect(await network.leftovers('br0')).toEqual([]);
  expect(await readdir(network.path('cache/results')).catch(() => [])).toEqual([]);
  expect(await readdir(network.path('state/attachments'))).toEqual([]);
}

test.each(['attach-pod/record networks', 'attach-pod/add eth0', 'detach-pod/delete eth0'])(
  'killed at "%s", the next start leaves nothing',
  async (faultPoint) => {
    const netns = network.createPod('p');
    expect(await runDaemon(netns, faultPoint)).toBe('SIGKILL');
    expect(await readdir(network.path('state/attachments'))).toEqual(['killed1.json']);
    await nextStart();
    await expectNothingLeft();
  },
);

test.each(['bridge', 'host-local', 'portmap'])(
  'killed when %s has done its work, the next start leaves nothing',
  async (type) => {
    // Debian's plugin, which kills the daemon when it has made its part and then dallies.
    // host-local runs below bridge.
    const daemon = type === 'host-local' ? '$(ps -o ppid= -p $PPID)' : '$PPID';
    const script = `#!/bin/sh
nsenter --net=${network.host} /usr/lib/cni/${type} || exit 1
if [ $CNI_COMMAND = ADD ]; then kill -KILL ${daemon}; sleep 0.2; fi
`;
    await writeFile(network.path('bin', type), script);
    expect(await runDaemon(network.createPod('p'), '')).toBe('SIGKILL');
    expect(await network.leftovers('br0')).not.toEqual([]);
    await nextStart();
    await expectNothingLeft();
  },
);

test('killed while a plugin hangs, the next start ends the plugin', async () => {
  const pids = network.path('pids');
  const script = `#!/bin/sh
[ $CNI_COMMAND = ADD ] || exit 0
sleep 1000 & echo $! $$ > ${pids}
kill -KILL $PPID
wait
`;
  await writeFile(network.path('bin/portmap'), script);
  expect(await runDaemon(network.createPod('p'), '')).toBe('SIGKILL');
  const [child, plugin] = (await readFile(pids, 'utf8')).trim().split(' ').map(Number);
  expect(identifyProcess(child ?? 0)).toBeDefined();
  await nextStart();
  expect(identifyProcess(child ?? 0)).toBeUndefined();
  expect(identifyProcess(plugin ?? 0)).toBeUndefined();
  await expectNothingLeft();
});

test('a whole run leaves nothing', async () => {
  expect(await runDaemon(network.createPod('p'), '')).toBe(null);
  await expectNothingLeft();
});
