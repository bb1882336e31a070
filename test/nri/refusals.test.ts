import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ContainerState } from '../../src/gen/runtime/v1/api.ts';
import { codeOf, criSuite, ended, statusOf } from '../cri/suite.ts';
import {
  containerConfig,
  createContainer,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { connector } from './connect.ts';

const suite = criSuite();
const connect = connector(suite);

/** An answer with a status: PERMISSION_DENIED. */
const no = { error: { code: 7, message: 'not on my watch' } };
const events = (...numbers: number[]) => ({
  respond: { events: numbers.reduce((mask, number) => mask | (1 << (number - 1)), 0) },
});

test('a veto fails the operation with what the plugin said, and leaves nothing', async () => {
  const { daemon, image } = suite;
  const plugin = await connect('10-guard', { RunPodSandbox: no });
  await expect(runPod(daemon)).rejects.toThrow(
    /7 PERMISSION_DENIED: .*NRI plugin "10-guard" refuses RunPodSandbox: .*not on my watch/,
  );
  expect((await daemon.runtime.listPodSandbox()).items).toEqual([]);
  expect(await readdir(join(daemon.paths.state, 'sandboxes'))).toEqual([]);
  expect(plugin.methods.slice(-3)).toEqual(['RunPodSandbox', 'StopPodSandbox', 'RemovePodSandbox']);

  await plugin.behave({ CreateContainer: no });
  const pod = await runPod(daemon);
  expect(await codeOf(createContainer(daemon, pod, containerConfig(image)))).toBe(
    'PERMISSION_DENIED',
  );
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  expect(await readdir(join(daemon.paths.state, 'containers'))).toEqual([]);

  await plugin.behave({ StartContainer: no, UpdateContainer: no, UpdatePodSandbox: no });
  const containerId = await createContainer(daemon, pod, containerConfig(image));
  expect(await codeOf(daemon.runtime.startContainer({ containerId }))).toBe('PERMISSION_DENIED');
  expect((await statusOf(daemon, containerId)).state).toBe(ContainerState.CONTAINER_CREATED);
  const update = { containerId, linux: { cpuShares: 512n } };
  expect(await codeOf(daemon.runtime.updateContainerResources(update))).toBe('PERMISSION_DENIED');
  expect((await statusOf(daemon, containerId)).resources?.linux?.cpuShares).not.toBe(512n);
  const sums = { podSandboxId: pod.id, resources: { cpuShares: 512n } };
  expect(await codeOf(daemon.runtime.updatePodSandboxResources(sums))).toBe('PERMISSION_DENIED');

  // Nobody can keep a pod from going.
  await plugin.behave({ StopContainer: no, StopPodSandbox: no, RemovePodSandbox: no });
  await daemon.runtime.startContainer({ containerId });
  await daemon.removePods();
  expect(plugin.methods.filter((method) => /Stop|Remove/.test(method))).toEqual([
    ...['StopContainer', 'StopPodSandbox', 'RemoveContainer', 'RemovePodSandbox'],
  ]);
});

test('two plugins that set the same contend, unless the second takes it away first', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const env = (value: string) => [{ key: 'MODE', value }];
  const first = { CreateContainer: { respond: { adjust: { env: env('a') } } } };
  await connect('10-first', first);
  const second = await connect('20-second', first);
  const create = () => createContainer(daemon, pod, containerConfig(image));
  await expect(create()).rejects.toThrow(
    /10 ABORTED: .*NRI plugins "10-first" and "20-second" both set Env "MODE"/,
  );
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  await second.behave({
    CreateContainer: { respond: { adjust: { env: [{ key: '-MODE' }, ...env('b')] } } },
  });
  await create();
  const [{ container }] = second.requests('PostCreateContainer');
  expect(container.env).toContain('MODE=b');
  expect(container.env).not.toContain('MODE=a');
});

test('a plugin that judges sees who set what, and its rejection fails the creation', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  await connect('10-setter', {
    CreateContainer: {
      respond: {
        adjust: {
          env: [{ key: 'MODE', value: 'a' }],
          linux: { resources: { cpu: { shares: { value: 300 } } } },
        },
      },
    },
  });
  const judge = await connect('20-judge', {
    Configure: events(14),
    ValidateContainerAdjustment: { respond: { reject: true, reason: 'no MODE here' } },
  });
  const create = () => createContainer(daemon, pod, containerConfig(image));
  await expect(create()).rejects.toThrow(/NRI plugin "20-judge" rejects the container: no MODE/);
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  const [request] = judge.requests('ValidateContainerAdjustment');
  expect(request).toMatchObject({
    pod: { id: pod.id },
    adjust: { env: [{ key: 'MODE', value: 'a' }] },
    plugins: [
      { name: 'setter', index: '10' },
      { name: 'judge', index: '20' },
    ],
  });
  expect(request.container.env).not.toContain('MODE=a');
  expect(request.owners.owners[request.container.id]).toEqual({
    simple: { 16: '10-setter' },
    compound: { 6: { owners: { MODE: '10-setter' } } },
  });
  // One that fails over the question is not passed over.
  await judge.behave({ ValidateContainerAdjustment: { exit: true } });
  await expect(create()).rejects.toThrow(/NRI plugin "20-judge" cannot judge the container/);
  await create();
});

describe('what a plugin wants of other containers', () => {
  test('is done with the request that it answers, or makes that fail', async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon);
    const other = await runContainer(daemon, pod, containerConfig(image));
    const doomed = await runContainer(daemon, pod, containerConfig(image));
    const shares = (value: number, containerId = other) => ({
      containerId,
      linux: { resources: { cpu: { shares: { value } } } },
    });
    const plugin = await connect('10-balancer', {
      CreateContainer: {
        respond: {
          update: [shares(300), shares(300, 'gone')],
          evict: [{ containerId: doomed, reason: 'no room' }],
        },
      },
      StopContainer: { respond: { update: [shares(600)] } },
    });
    const create = () => createContainer(daemon, pod, containerConfig(image));
    await create();
    const sharesNow = async () => (await statusOf(daemon, other)).resources?.linux?.cpuShares;
    expect((await ended(daemon, doomed)).exitCode).toBe(137);
    await waitFor('the update after the stop', async () => (await sharesNow()) === 600n);

    const refused = { containerId: other, linux: { resources: { blockioClass: { value: 'x' } } } };
    await plugin.behave({ CreateContainer: { respond: { update: [refused] } } });
    await expect(create()).rejects.toThrow(/NRI plugin "10-balancer" wants: .*block I\/O class/);
    const ignored = { ...refused, ignoreFailure: true };
    await plugin.behave({ CreateContainer: { respond: { update: [ignored, shares(900)] } } });
    await create();
    expect(await sharesNow()).toBe(900n);
  });

  test('is done when it asks unasked', async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon);
    const id = await runContainer(daemon, pod, containerConfig(image));
    const plugin = await connect('10-tuner');
    const limit = { memory: { limit: { value: 80 << 20 } } };
    const { failed } = await plugin.update({
      update: [
        { containerId: id, linux: { resources: { ...limit, pids: { limit: 33 } } } },
        { containerId: 'gone', linux: { resources: limit } },
      ],
    });
    expect(failed).toMatchObject([{ containerId: 'gone' }]);
    expect((await statusOf(daemon, id)).resources?.linux?.memoryLimitInBytes).toBe(
      BigInt(80 << 20),
    );
    expect(plugin.methods).not.toContain('UpdateContainer');
    await plugin.update({ evict: [{ containerId: id, reason: 'tired of it' }] });
    expect((await ended(daemon, id)).exitCode).toBe(137);
  });

  test('may be asked for while it is being asked', async () => {
    const { daemon, image } = suite;
    const pod = await runPod(daemon);
    const id = await runContainer(daemon, pod, containerConfig(image));
    const update = {
      update: [{ containerId: id, linux: { resources: { cpu: { shares: { value: 444 } } } } }],
    };
    const plugin = await connect('10-nested', { CreateContainer: { update } });
    await createContainer(daemon, pod, containerConfig(image));
    expect((await statusOf(daemon, id)).resources?.linux?.cpuShares).toBe(444n);
    expect(plugin.methods).toContain('PostCreateContainer');
  });
});
