import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { ContainerState, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { ScriptedPlugins } from '../cni/scripted-plugins.ts';
import { codeOf, criSuite, execIn } from '../cri/suite.ts';
import { ScriptedRuntime } from '../faults/scripted-runtime.ts';
import {
  CNI_BIN_DIRS,
  containerConfig,
  createContainer,
  podConfig,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { recordedIds, tracesOf } from './traces.ts';

const runtime = await ScriptedRuntime.create();
const plugins = await ScriptedPlugins.create();
// Hooks run last first: the daemon still needs them.
afterAll(async () => {
  await runtime[Symbol.asyncDispose]();
  await plugins[Symbol.asyncDispose]();
});
const suite = criSuite({
  config: runtime.config,
  args: ['--cni-bin-dir', [plugins.bin, ...CNI_BIN_DIRS].join(':')],
});

async function crash(meanwhile: () => Promise<unknown> = async () => {}): Promise<void> {
  await suite.daemon.kill9();
  await meanwhile();
  await suite.daemon.start();
}

/** Fails unless all that is listed is whole, and nothing of the rest is left. */
async function expectConsistent(ids: Iterable<string>): Promise<void> {
  const { daemon } = suite;
  const { items } = await daemon.runtime.listPodSandbox();
  const { containers } = await daemon.runtime.listContainers();
  const listed = new Set([...items, ...containers].map(({ id }) => id));
  expect((await recordedIds(daemon)).sort()).toEqual([...listed].sort());
  expect(
    await tracesOf(
      daemon,
      [...ids].filter((id) => !listed.has(id)),
    ),
  ).toEqual([]);
  for (const { id } of containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING))
    expect(await execIn(daemon, id, 'ip addr show eth0 | grep -c "inet "')).toBe('1');
  // One that was being stopped may have its network still: the next stop gives it back.
  const ready = items.filter(({ state }) => state === PodSandboxState.SANDBOX_READY);
  const ports = await portsOfPods();
  expect(ports.length).toBeGreaterThanOrEqual(ready.length);
  expect(ports.length).toBeLessThanOrEqual(items.length);
}

/** The host's ends of the pods' interfaces. */
async function portsOfPods(): Promise<string[]> {
  const things = await suite.daemon.network!.leftovers();
  return things.filter((thing) => thing.startsWith('interface'));
}

test('while the runtime creates a container: it and its monitor are ended', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'scripted');
  const config = containerConfig(image);
  await runtime.hang('create');
  const call = codeOf(createContainer(daemon, pod, config));
  await runtime.called('create');
  const ids = await recordedIds(daemon);
  await crash();
  expect(await call).toBe('UNAVAILABLE');
  await runtime.mend('create');
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  await expectConsistent(ids);
  await runContainer(daemon, pod, config);
  await daemon.removePods();
});

test.each(['start', 'delete'] as const)(
  'while the runtime hangs in "%s": the next daemon finds the container as it is',
  async (command) => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon, {}, 'scripted');
    const containerId = await createContainer(daemon, pod, containerConfig(image));
    const { runtime: cri } = daemon;
    if (command === 'delete') await cri.startContainer({ containerId });
    await runtime.hang(command);
    const calls = await runtime.calls(command);
    const call = codeOf(
      command === 'start'
        ? cri.startContainer({ containerId })
        : cri.removeContainer({ containerId }),
    );
    await runtime.called(command, calls + 1);
    await crash(() => runtime.mend(command));
    expect(await call).toBe('UNAVAILABLE');
    if (command === 'start') {
      // The script went on without the daemon, sooner or later.
      const { status } = await daemon.runtime.containerStatus({ containerId });
      if (status!.state === ContainerState.CONTAINER_CREATED) {
        await codeOf(daemon.runtime.startContainer({ containerId }));
      }
    }
    await daemon.runtime.removeContainer({ containerId });
    await expectConsistent([pod.id, containerId]);
    await daemon.removePods();
  },
);

test.each(['ADD', 'DEL'])('while a CNI plugin hangs in %s: it is ended', async (command) => {
  const { daemon } = suite;
  const { conflist } = daemon.network!;
  const gate = plugins.path('gate');
  await plugins.addRecorder('slow', {
    result: {},
    before: `if [ $CNI_COMMAND = ${command} ]; then while [ -e ${gate} ]; do sleep 0.05; done; fi
if [ $CNI_COMMAND = ADD ]; then printf '%s' "$input" | sed 's/.*"prevResult":\\({.*}\\)[^}]*}$/\\1/'; exit 0; fi`,
  });
  const list = JSON.parse(conflist);
  list.plugins.push({ type: 'slow' });
  const file = join(daemon.paths.cniConfDir, '10-test.conflist');
  await writeFile(file, JSON.stringify(list));
  await crash();
  await plugins.forgetCalls();
  await writeFile(gate, '');
  const config = podConfig();
  const called = () =>
    waitFor('the plugin', async () =>
      (await plugins.calls()).some((call) => call.startsWith(command)),
    );
  let call: Promise<string>;
  if (command === 'ADD') {
    call = codeOf(daemon.runtime.runPodSandbox({ config }));
  } else {
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
    call = codeOf(daemon.runtime.stopPodSandbox({ podSandboxId }));
  }
  await called();
  const ids = await recordedIds(daemon);
  expect(ids.length).toBe(1);
  await crash(() => rm(gate));
  expect(await call).toBe('UNAVAILABLE');
  if (command === 'DEL') await daemon.runtime.removePodSandbox({ podSandboxId: ids[0]! });
  await expectConsistent(ids);
  await writeFile(file, conflist);
  await crash();
  await daemon.runtime.runPodSandbox({ config });
  await daemon.removePods();
});

test('at any time while 30 pods come and go at once', async () => {
  const { daemon, image } = suite;
  const ids = new Set<string>();
  const configs = Array.from({ length: 30 }, () => podConfig());
  for (const delay of [60, 250, 700]) {
    const lives = configs.map(async (config, index) => {
      const pod = await runPod(daemon, config);
      const containerId = await runContainer(daemon, pod, containerConfig(image));
      if (index % 2 === 0) await daemon.runtime.stopContainer({ containerId, timeout: 0n });
      if (index % 3 === 0) await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
    });
    const all = Promise.allSettled(lives);
    await sleep(delay);
    await crash(async () => {
      await all;
      for (const id of await recordedIds(daemon)) ids.add(id);
    });
    await expectConsistent(ids);
    await daemon.removePods();
    expect(await tracesOf(daemon, ids)).toEqual([]);
    expect(await portsOfPods()).toEqual([]);
  }
  // Without a crash, with the same names.
  await Promise.all(
    configs.map(async (config) => {
      const pod = await runPod(daemon, config);
      ids.add(await runContainer(daemon, pod, containerConfig(image)));
      ids.add(pod.id);
    }),
  );
  await expectConsistent(ids);
  await daemon.removePods();
  expect(await tracesOf(daemon, ids)).toEqual([]);
}, 60_000);
