import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ContainerState } from '../../src/gen/runtime/v1/api.ts';
import { containerConfig, createContainer, runContainer, runPod } from '../harness/index.ts';
import { codeOf, criSuite, execIn, statusOf } from './suite.ts';

/** Runtimes that do one thing differently and leave the rest to runc. */
const scripts = mkdtempSync(join(tmpdir(), 'keelson-runtimes-'));
const BROKEN: Record<string, string> = {
  'fails-create': 'create) echo "no space for you" >&2; exit 1',
  'hangs-create': 'create) exec sleep 1000',
  'fails-start': 'start) echo "cannot start today" >&2; exit 1',
  'hangs-kill': 'kill) exec sleep 1000',
  vanishes: 'never) :',
};
const tables = Object.entries(BROKEN).map(([name, behaviour]) => {
  const path = join(scripts, name);
  const script = `#!/bin/sh\nfor word in "$@"; do case $word in ${behaviour};; esac; done\nexec runc "$@"\n`;
  writeFileSync(path, script, { mode: 0o755 });
  return `[runtimes.${name}]\ntype = "runc"\npath = "${path}"\n`;
});

// The last to be registered is the first to run: the daemon needs them for its clean-up.
afterAll(() => rmSync(scripts, { recursive: true, force: true }));
const suite = criSuite({ config: tables.join('\n') });

/** What is left of containers on disk and in the list: those of the ids given. */
async function expectOnly(podSandboxId: string, ids: string[]): Promise<void> {
  const { daemon } = suite;
  const { containers } = await daemon.runtime.listContainers({ filter: { podSandboxId } });
  expect(containers.map(({ id }) => id)).toEqual(ids);
  const all = (await daemon.runtime.listContainers()).containers.map(({ id }) => id);
  expect((await readdir(join(daemon.paths.state, 'containers'))).sort()).toEqual(all.sort());
}

test('a runtime that fails to create is quoted, and nothing is left', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'fails-create');
  const config = containerConfig(image);
  for (let attempt = 0; attempt < 2; attempt++) {
    await expect(createContainer(daemon, pod, config)).rejects.toMatchObject({
      details: expect.stringContaining('no space for you'),
    });
  }
  await expectOnly(pod.id, []);
});

test('a runtime that hangs is given up with the call, and nothing is left', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'hangs-create');
  const config = containerConfig(image);
  const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
  const call = daemon.runtime.createContainer(request, { timeout: 500 });
  expect(await codeOf(call)).toBe('DEADLINE_EXCEEDED');
  await expect
    .poll(() => readdir(join(daemon.paths.state, 'containers')), { timeout: 10_000 })
    .toEqual([]);
  await expectOnly(pod.id, []);
  const healthy = await runPod(daemon);
  const id = await runContainer(daemon, healthy, containerConfig(image));
  expect(await execIn(daemon, id, 'echo fine')).toBe('fine');
});

test('a container whose start fails has exited with 128 and StartError', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'fails-start');
  const id = await createContainer(daemon, pod, containerConfig(image));
  await expect(daemon.runtime.startContainer({ containerId: id })).rejects.toMatchObject({
    details: expect.stringContaining('cannot start today'),
  });
  const status = await statusOf(daemon, id);
  expect(status).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 128,
    reason: 'StartError',
    startedAt: 0n,
    message: expect.stringContaining('cannot start today'),
  });
  expect(status.finishedAt).toBeGreaterThanOrEqual(status.createdAt);
  await daemon.runtime.removeContainer({ containerId: id });
  await expectOnly(pod.id, []);
});

test('a container is stopped though its runtime hangs when asked to signal', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'hangs-kill');
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  await daemon.runtime.stopContainer({ containerId });
  expect((await statusOf(daemon, containerId)).exitCode).toBe(137);
});

test('a runtime that is not there any more is told apart from a container that is not', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon, {}, 'vanishes');
  const containerId = await runContainer(daemon, pod, containerConfig(image));
  const path = join(scripts, 'vanishes');
  await rename(path, `${path}.away`);
  const call = daemon.runtime.execSync({ containerId, cmd: ['/bin/true'] });
  expect(await codeOf(call)).toBe('FAILED_PRECONDITION');
  const removal = daemon.runtime.removeContainer({ containerId });
  expect(await codeOf(removal)).toBe('FAILED_PRECONDITION');
  expect((await statusOf(daemon, containerId)).id).toBe(containerId);
  await rename(`${path}.away`, path);
  expect(await codeOf(daemon.runtime.removeContainer({ containerId }))).toBe('OK');
  await expectOnly(pod.id, []);
});
