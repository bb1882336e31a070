import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ContainerState } from '../../src/gen/runtime/v1/api.ts';
import { criSuite, execIn, statusOf } from '../cri/suite.ts';
import {
  containerConfig,
  createContainer,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { recordedIds, tracesOf } from '../recovery/traces.ts';
import { failureOf } from './failure.ts';

const directory = await mkdtemp(join(tmpdir(), 'keelson-conmon-'));
const path = join(directory, 'conmon');
const REAL = '#!/bin/sh\nexec conmon "$@"\n';
await install(REAL);
afterAll(() => rm(directory, { recursive: true }));
const suite = criSuite({ config: `[conmon]\npath = "${path}"\n` });

async function install(script: string): Promise<void> {
  await writeFile(path, script);
  await chmod(path, 0o755);
}

test.each([
  ['is missing', undefined, 'there is no such program'],
  ['fails', '#!/bin/sh\necho "conmon is unwell" >&2\nexit 3\n', 'conmon is unwell'],
  ['ends without a word', '#!/bin/sh\nexit 0\n', 'Cannot create container'],
  ['writes garbage', '#!/bin/sh\necho "garbage" >&3\nexit 0\n', 'Cannot create container'],
])('a monitor that %s', async (_, script, reason) => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  if (script === undefined) await rm(path);
  else await install(script);
  const config = containerConfig(image);
  const failure = await failureOf(createContainer(daemon, pod, config));
  expect(failure).toMatch(/^(NOT_FOUND|UNKNOWN|FAILED_PRECONDITION|INTERNAL): /);
  expect(failure).toContain(reason);
  expect(await recordedIds(daemon)).toEqual([pod.id]);
  const shared = { linux: { securityContext: { namespaceOptions: { pid: 0 } } } } as const;
  expect(await failureOf(runPod(daemon, shared))).toContain(reason);
  expect(await recordedIds(daemon)).toEqual([pod.id]);
  await install(REAL);
  const id = await runContainer(daemon, pod, config);
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
  await daemon.removePods();
  expect(await tracesOf(daemon, [pod.id, id])).toEqual([]);
});

test('a monitor that is killed while the container runs: the end is noticed, and how it ended is not known', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  const bundle = join(daemon.paths.state, 'containers', id, 'bundle');
  process.kill(Number(await readFile(join(bundle, 'conmon.pid'), 'utf8')), 'SIGKILL');
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
  process.kill(Number(await readFile(join(bundle, 'pidfile'), 'utf8')), 'SIGKILL');
  const status = await waitFor(
    'the end',
    async () => {
      const now = await statusOf(daemon, id);
      return now.state === ContainerState.CONTAINER_EXITED && now;
    },
    20_000,
  );
  expect(status).toMatchObject({ exitCode: 255, reason: 'Unknown' });
  await daemon.removePods();
  expect(await tracesOf(daemon, [pod.id, id])).toEqual([]);
});
