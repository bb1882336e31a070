import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { failing, ScriptedPlugins } from '../cni/scripted-plugins.ts';
import { type Daemon, podConfig, runPod, startDaemon, waitFor } from '../harness/index.ts';
import { recordedIds, tracesOf } from '../recovery/traces.ts';
import { failureOf } from './failure.ts';

let plugins: ScriptedPlugins;
let daemon: Daemon;
const NETWORK = {
  cniVersion: '1.0.0',
  name: 'scripted',
  plugins: [{ type: 'first' }, { type: 'second' }],
};

beforeAll(async () => {
  plugins = await ScriptedPlugins.create();
  await plugins.addRecorder('first');
  daemon = await startDaemon({
    args: ['--cni-bin-dir', plugins.bin],
    config: '[cni]\nplugin_timeout = "1s"\n',
  });
  await useNetwork(NETWORK);
});
afterEach(async () => {
  await killChild();
  await plugins.addRecorder('first');
  await plugins.addRecorder('second');
  await daemon.removePods();
});
afterAll(async () => {
  await daemon?.[Symbol.asyncDispose]();
  await plugins?.[Symbol.asyncDispose]();
});

/** What a plugin starts and leaves behind is the plugin's own: Keelson does not end it. */
async function killChild(): Promise<void> {
  const file = join(plugins.bin, 'child');
  const pid = await readFile(file, 'utf8').catch(() => undefined);
  if (pid === undefined) return;
  process.kill(Number(pid), 'SIGKILL');
  await rm(file);
}

/** Waits until the daemon has seen it. */
async function useNetwork(list: object | string): Promise<void> {
  const file = join(daemon.paths.cniConfDir, '10-test.conflist');
  await writeFile(file, typeof list === 'string' ? list : JSON.stringify(list));
  const name = typeof list === 'string' ? undefined : (list as { name: string }).name;
  await waitFor('the network', async () => {
    const line = daemon.log.split('\n').findLast((each) => each.includes('"networks":'));
    return line?.includes(`"networks":[${name === undefined ? '' : `"${name}"`}]`);
  });
}

/** What the pod got is given back: the second plugin fails, so the first is asked to undo. */
async function expectUndone(config: ReturnType<typeof podConfig>, ids: readonly string[]) {
  expect((await daemon.runtime.listPodSandbox()).items).toEqual([]);
  expect(await recordedIds(daemon)).toEqual([]);
  expect(await tracesOf(daemon, ids)).toEqual([]);
  await plugins.addRecorder('second');
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
  await daemon.runtime.removePodSandbox({ podSandboxId });
}

const RESULT = '{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/8"}]}';
test.each<[string, string | undefined, RegExp]>([
  ['is missing', undefined, /^FAILED_PRECONDITION: .*CNI plugin "second" is not installed/],
  ['fails by the book', failing(101, 'no bridge here'), /^UNKNOWN: .*no bridge here/],
  ['asks to be tried again', failing(11, 'come back'), /^UNAVAILABLE: .*come back/],
  ['fails without a word', 'exit 1', /^[A-Z]+: .*exit code 1, without a word/],
  ['fails on stderr', 'echo "my cable is loose" >&2; exit 2', /^[A-Z]+: .*my cable is loose/],
  ['is killed', 'kill -9 $$', /^[A-Z]+: .*ended by SIGKILL/],
  ['prints garbage', 'echo "<html>"', /^[A-Z_]+: .*Result of CNI plugin "second"/],
  ['prints nothing', 'true', /^[A-Z_]+: .*Result of CNI plugin "second"/],
  ['prints a result of another version', `echo '{"cniVersion":"9.9"}'`, /^[A-Z_]+: .*9\.9/],
  [
    'prints no address at all',
    `echo '{"cniVersion":"1.0.0","ips":[{"address":"nowhere"}]}'`,
    /nowhere/,
  ],
  ['never stops printing', 'yes', /^[A-Z_]+: .*more than \d+ bytes/],
  ['hangs', 'sleep 1000', /^DEADLINE_EXCEEDED: .*CNI plugin "second" hangs in ADD/],
  [
    'leaves a child behind that holds its output',
    `sleep 1000 & echo $! > "$(dirname "$0")/child"; echo '${RESULT}'; exit 1`,
    /exit code 1/,
  ],
])('a plugin that %s', async (_, script, expected) => {
  if (script !== undefined) {
    await plugins.add('second', `if [ "$CNI_COMMAND" = ADD ]; then ${script}; fi`);
  }
  await plugins.forgetCalls();
  const config = podConfig();
  const failure = await failureOf(daemon.runtime.runPodSandbox({ config }));
  expect(failure).toMatch(expected);
  expect(failure).toContain(`Cannot run pod sandbox "${config.metadata!.name}_default_`);
  const calls = await plugins.calls();
  const ids = calls.map((call) => call.split(' ')[2]!);
  if (script !== undefined) expect(calls.map((call) => call.split(' ')[0])).toEqual(['ADD', 'DEL']);
  await expectUndone(config, ids);
});

test('a client that gives up while a plugin hangs: it is ended, and all is undone', async () => {
  await plugins.add(
    'second',
    '[ "$CNI_COMMAND" = ADD ] && echo $$ > "$(dirname "$0")/pid" && sleep 1000',
  );
  await plugins.forgetCalls();
  const config = podConfig();
  const failure = await failureOf(daemon.runtime.runPodSandbox({ config }, { timeout: 500 }));
  expect(failure).toMatch(/^DEADLINE_EXCEEDED/);
  await plugins.addRecorder('second');
  // A retry waits for the undoing, and then begins anew.
  const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
  const first = (await plugins.calls())[0]!.split(' ')[2]!;
  expect(first).not.toBe(podSandboxId);
  expect(await tracesOf(daemon, [first])).toEqual([]);
});

test('a plugin that fails to undo: the pod stays stopped until a call succeeds', async () => {
  await plugins.addRecorder('second');
  const pod = await runPod(daemon);
  await plugins.add('second', `[ "$CNI_COMMAND" = DEL ] || exit 0; ${failing(100, 'it holds on')}`);
  const request = { podSandboxId: pod.id };
  expect(await failureOf(daemon.runtime.stopPodSandbox(request))).toMatch(/it holds on/);
  expect(await failureOf(daemon.runtime.removePodSandbox(request))).toMatch(/it holds on/);
  const { status } = await daemon.runtime.podSandboxStatus(request);
  expect(status!.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  await plugins.addRecorder('second');
  await daemon.runtime.removePodSandbox(request);
  expect(await tracesOf(daemon, [pod.id])).toEqual([]);
});

test('no usable configuration: pods with a network of their own wait, others run', async () => {
  await useNetwork('{ this is no JSON');
  const config = podConfig();
  expect(await failureOf(daemon.runtime.runPodSandbox({ config }))).toMatch(
    /^UNAVAILABLE: .*10-test\.conflist/,
  );
  const { status } = await daemon.runtime.status();
  const network = status!.conditions.find(({ type }) => type === 'NetworkReady');
  expect(network).toMatchObject({ status: false });
  expect(network!.message).toContain('10-test.conflist');
  await runPod(daemon, { linux: { securityContext: { namespaceOptions: { network: 2 } } } });
  await plugins.addRecorder('second');
  await useNetwork(NETWORK);
  await daemon.runtime.runPodSandbox({ config });
});
