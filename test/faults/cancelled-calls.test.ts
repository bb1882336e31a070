import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { criSuite, execIn } from '../cri/suite.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import {
  type CallSettings,
  containerConfig,
  type Pod,
  podConfig,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { recordedIds, tracesOf } from '../recovery/traces.ts';
import { failureOf } from './failure.ts';

const suite = criSuite();
const SHARED = { linux: { securityContext: { namespaceOptions: { pid: 0 } } } } as const;

/** Calls are given up after so many milliseconds: before they begin, at each stage, and too late. */
const DELAYS = [0, 1, 2, 4, 6, 8, 11, 14, 18, 23, 29, 36, 45, 60, 80, 120];

/** How a client gives a call up. */
const WAYS: Record<string, (milliseconds: number) => CallSettings> = {
  cancels: (milliseconds) => ({ signal: AbortSignal.timeout(milliseconds) }),
  'has a deadline': (milliseconds) => ({ timeout: Math.max(1, milliseconds) }),
};
const GIVEN_UP = /^(OK$|CANCELLED|DEADLINE_EXCEEDED)/;

let pod: Pod;
beforeAll(async () => {
  pod = await runPod(suite.daemon, SHARED);
});
afterEach(() => {
  expect(suite.daemon.running).toBe(true);
});

async function settled(): Promise<string[]> {
  // What is given up is undone without a client.
  let before: string[] = [];
  return waitFor('the end of all undoing', async () => {
    const now = (await recordedIds(suite.daemon)).sort();
    const { items } = await suite.daemon.runtime.listPodSandbox();
    const { containers } = await suite.daemon.runtime.listContainers();
    const listed = [...items, ...containers].map(({ id }) => id).sort();
    const same = now.join() === listed.join() && now.join() === before.join();
    before = now;
    await sleep(100);
    return same && now;
  });
}

test.each(Object.keys(WAYS))('RunPodSandbox whose client %s leaves all or nothing', async (way) => {
  const { daemon } = suite;
  const seen = new Set<string>();
  for (const delay of DELAYS) {
    const config = podConfig(SHARED);
    const call = failureOf(daemon.runtime.runPodSandbox({ config }, WAYS[way]!(delay)));
    for (const id of await recordedIds(daemon)) seen.add(id);
    expect(await call).toMatch(GIVEN_UP);
    // The same name at once: it waits for the undoing, or finds the pod.
    const again = await failureOf(daemon.runtime.runPodSandbox({ config }));
    expect(again).toMatch(/^(OK$|ALREADY_EXISTS)/);
    for (const id of await recordedIds(daemon)) seen.add(id);
  }
  const listed = new Set(await settled());
  expect(listed.size).toBe(DELAYS.length + 1);
  expect(
    await tracesOf(
      daemon,
      [...seen].filter((id) => !listed.has(id)),
    ),
  ).toEqual([]);
  for (const id of listed) {
    if (id !== pod.id) await daemon.runtime.removePodSandbox({ podSandboxId: id });
  }
});

test.each(Object.keys(WAYS))(
  'CreateContainer whose client %s leaves all or nothing',
  async (way) => {
    const { daemon, image } = suite;
    const seen = new Set<string>();
    for (const delay of DELAYS) {
      const config = containerConfig(image, SHARED);
      const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
      const call = failureOf(daemon.runtime.createContainer(request, WAYS[way]!(delay)));
      for (const id of await recordedIds(daemon)) seen.add(id);
      expect(await call).toMatch(GIVEN_UP);
      const again = await failureOf(daemon.runtime.createContainer(request));
      expect(again).toMatch(/^(OK$|ALREADY_EXISTS)/);
      for (const id of await recordedIds(daemon)) seen.add(id);
    }
    const listed = new Set(await settled());
    expect(listed.size).toBe(DELAYS.length + 1);
    expect(
      await tracesOf(
        daemon,
        [...seen].filter((id) => !listed.has(id)),
      ),
    ).toEqual([]);
    for (const containerId of listed) {
      if (containerId === pod.id) continue;
      await daemon.runtime.startContainer({ containerId });
      expect(await execIn(daemon, containerId, 'echo lives')).toBe('lives');
      await daemon.runtime.removeContainer({ containerId });
    }
  },
);

test.each(Object.keys(WAYS))('PullImage whose client %s leaves all or nothing', async (way) => {
  const { daemon, registry } = suite;
  // Bytes that do not compress.
  const files = [{ path: 'data', content: randomBytes(20 << 20) }];
  const fixture = busyboxImage({ files });
  await pushImage({ url: registry.url, repository: 'large' }, way.replace(/ /g, '-'), fixture);
  const reference = `${registry.host}/large:${way.replace(/ /g, '-')}`;
  for (const delay of [0, 2, 5, 10, 20, 40, 80, 160]) {
    const failure = await failureOf(
      daemon.images.pullImage({ image: { image: reference } }, WAYS[way]!(delay)),
    );
    expect(failure).toMatch(GIVEN_UP);
    const { image } = await daemon.images.imageStatus({ image: { image: reference } });
    if (failure === 'OK') expect(image!.id).toBe(fixture.id);
    if (image !== undefined) await daemon.images.removeImage({ image: { image: reference } });
  }
  const { imageRef } = await daemon.images.pullImage({ image: { image: reference } });
  expect(imageRef).not.toBe('');
  const id = await runContainer(daemon, pod, containerConfig(reference, SHARED));
  expect(await execIn(daemon, id, 'wc -c < /data')).toBe(String(20 << 20));
  await daemon.runtime.removeContainer({ containerId: id });
  await daemon.images.removeImage({ image: { image: reference } });
});

test('a request that is sent twice at once is answered once, and a later one refused', async () => {
  const { daemon, image } = suite;
  const config = podConfig();
  const pods = await Promise.all([1, 2, 3].map(() => daemon.runtime.runPodSandbox({ config })));
  expect(new Set(pods.map(({ podSandboxId }) => podSandboxId)).size).toBe(1);
  expect(await failureOf(daemon.runtime.runPodSandbox({ config }))).toMatch(
    /^ALREADY_EXISTS: .*reserved/,
  );
  const request = {
    podSandboxId: pods[0]!.podSandboxId,
    config: containerConfig(image),
    sandboxConfig: config,
  };
  const made = await Promise.all([1, 2, 3].map(() => daemon.runtime.createContainer(request)));
  const [{ containerId }] = made as [{ containerId: string }];
  expect(new Set(made.map((each) => each.containerId)).size).toBe(1);
  expect(await failureOf(daemon.runtime.createContainer(request))).toMatch(/^ALREADY_EXISTS/);
  const starts = [1, 2].map(() => failureOf(daemon.runtime.startContainer({ containerId })));
  const outcomes = await Promise.all(starts);
  expect(outcomes.sort().map((outcome) => outcome.split(':')[0])).toEqual([
    'FAILED_PRECONDITION',
    'OK',
  ]);
  const ends = [1, 2, 3].map(() => daemon.runtime.stopContainer({ containerId, timeout: 0n }));
  await Promise.all(ends);
  await Promise.all([1, 2].map(() => daemon.runtime.removeContainer({ containerId })));
  const { podSandboxId } = pods[0]!;
  await Promise.all([1, 2].map(() => daemon.runtime.stopPodSandbox({ podSandboxId })));
  await Promise.all([1, 2].map(() => daemon.runtime.removePodSandbox({ podSandboxId })));
  expect(await tracesOf(daemon, [podSandboxId, containerId])).toEqual([]);
});

test('of two calls for one pod, the one that is given up does not end the other', async () => {
  const { daemon } = suite;
  for (const delay of [1, 5, 10, 20]) {
    const config = podConfig();
    const impatient = failureOf(
      daemon.runtime.runPodSandbox({ config }, { signal: AbortSignal.timeout(delay) }),
    );
    const patient = daemon.runtime.runPodSandbox({ config });
    expect(await impatient).toMatch(GIVEN_UP);
    await daemon.runtime.removePodSandbox(await patient);
  }
});
