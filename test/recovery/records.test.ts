import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ContainerState, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { identifyProcess } from '../../src/linux/index.ts';
import { codeOf, criSuite, execIn, statusOf } from '../cri/suite.ts';
import { containerConfig, output, type Pod, runContainer, runPod } from '../harness/index.ts';
import { tracesOf } from './traces.ts';

const suite = criSuite();
const state = (...names: string[]) => join(suite.daemon.paths.state, ...names);

/** A process that has nothing to do with Keelson. */
let bystander: ChildProcess;
beforeEach(() => {
  bystander = spawn('/bin/sleep', ['1000000'], { stdio: 'ignore' });
});
afterEach(() => {
  expect(bystander.exitCode ?? bystander.signalCode).toBe(null);
  bystander.kill('SIGKILL');
});

async function change(path: string, edit: (record: Record<string, unknown>) => void) {
  const record = JSON.parse(await readFile(path, 'utf8'));
  edit(record);
  await writeFile(path, JSON.stringify(record));
}

test.each([
  ['garbage', 'no json at all\0\xff'],
  ['an empty file', ''],
  ['a list', '[]'],
  ['null', 'null'],
  ['an object without its parts', undefined],
])('a pod whose record is %s is set aside and reported, and others go on', async (_, text) => {
  const { daemon, image } = suite;
  const good = await runPod(daemon);
  const goodContainer = await runContainer(daemon, good, containerConfig(image));
  const bad = await runPod(daemon);
  const badContainer = await runContainer(daemon, bad, containerConfig(image));
  await daemon.kill9();
  const damaged = text ?? JSON.stringify({ id: bad.id });
  await writeFile(state('sandboxes', bad.id, 'record.json'), damaged);
  const logged = daemon.log.length;
  await daemon.start({ env: {} });
  expect(daemon.log.slice(logged)).toContain('the record of a pod sandbox is unreadable');
  expect(daemon.log.slice(logged)).toContain(bad.id);
  const aside = state('unreadable', `pod sandbox-${bad.id}`, 'record.json');
  expect(await readFile(aside, 'utf8')).toBe(damaged);
  expect((await daemon.runtime.listPodSandbox()).items.map(({ id }) => id)).toEqual([good.id]);
  expect(await execIn(daemon, goodContainer, 'echo lives')).toBe('lives');
  expect(await codeOf(statusOf(daemon, badContainer))).toBe('NOT_FOUND');
  // The name is free, and nothing of it is left but what was set aside.
  const again = await daemon.runtime.runPodSandbox({ config: bad.config });
  expect(again.podSandboxId).not.toBe(bad.id);
  await daemon.removePods();
  await rm(state('unreadable'), { recursive: true });
  expect(await tracesOf(daemon, [bad.id, badContainer])).toEqual([]);
});

test.each([
  ['garbage', '{'],
  ['an object without its parts', undefined],
])('a container whose record is %s is set aside, and nothing of it runs on', async (_, text) => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const config = containerConfig(image);
  const id = await runContainer(daemon, pod, config);
  await daemon.kill9();
  await writeFile(state('containers', id, 'record.json'), text ?? JSON.stringify({ id }));
  await daemon.start({ env: {} });
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  expect(await readdir(state('unreadable'))).toEqual([`container-${id}`]);
  await rm(state('unreadable'), { recursive: true });
  expect(await tracesOf(daemon, [id])).toEqual([]);
  const again = await runContainer(daemon, pod, config);
  expect(await execIn(daemon, again, 'echo lives')).toBe('lives');
  await daemon.removePods();
});

test('files that nobody knows among the records keep nobody from starting', async () => {
  const { daemon } = suite;
  await daemon.kill9();
  const unknown = 'f'.repeat(64);
  await mkdir(state('containers', unknown), { recursive: true });
  await writeFile(state('containers', 'note.txt'), 'a file, no directory');
  await writeFile(state('exits', unknown), '0');
  await writeFile(state('exits', 'note.txt'), '0');
  await daemon.start({ env: {} });
  await runPod(daemon);
  await daemon.removePods();
  await rm(state('exits', 'note.txt'), { force: true });
});

test('a pod whose network namespace is not pinned any more is not ready', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  await daemon.kill9();
  await output('umount', `/run/netns/keelson-${pod.id.slice(0, 16)}`);
  await daemon.start({ env: {} });
  const request = { podSandboxId: pod.id };
  const { status } = await daemon.runtime.podSandboxStatus(request);
  expect(status!.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  await daemon.runtime.stopPodSandbox(request);
  expect((await statusOf(daemon, id)).state).toBe(ContainerState.CONTAINER_EXITED);
  await daemon.runtime.removePodSandbox(request);
  expect(await tracesOf(daemon, [pod.id, id])).toEqual([]);
});

test('a pid that belongs to another process by now is left alone', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  await daemon.kill9();
  await output('crun', `--root=${state('runtimes', 'crun')}`, 'kill', id, 'KILL');
  await change(state('containers', id, 'record.json'), (record) => {
    const { process } = record['state'] as { process: { pid: number } };
    process.pid = bystander.pid!;
  });
  await writeFile(state('containers', id, 'bundle/conmon.pid'), String(bystander.pid));
  await daemon.start({ env: {} });
  await daemon.runtime.stopContainer({ containerId: id, timeout: 5n });
  expect(await statusOf(daemon, id)).toMatchObject({ exitCode: 137 });
  await daemon.removePods();
});

/** What a machine that lost its power has on its disk: all files of a pod, and no pod. */
async function afterReboot(pod: Pod): Promise<void> {
  const { daemon } = suite;
  const { paths, directory } = daemon;
  const files = [paths.leases, `${directory}/cni-cache`, `${paths.root}/cni`];
  const storage = await readdir(`${paths.root}/containers`);
  await daemon.kill9();
  const kept = `${directory}/kept`;
  const records = ['sandboxes', 'containers'].map((kind) => state(kind));
  for (const path of [...files, ...records]) {
    // What is mounted there would not survive.
    const filter = (name: string) => !/\/(shm|ns|rootfs|bundle)$/.test(name);
    await cp(path, join(kept, path), { recursive: true, filter });
  }
  await daemon.start({ env: {} });
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  await daemon.kill9();
  for (const path of [...files, ...records]) {
    await cp(join(kept, path), path, { recursive: true });
  }
  for (const name of storage)
    await mkdir(`${paths.root}/containers/${name}/upper`, { recursive: true });
  await rm(kept, { recursive: true });
  await writeFile(state('boot-id'), '11111111-2222-3333-4444-555555555555');
}

test('the state of another boot is discarded, and no process that has its pids is touched', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const config = containerConfig(image);
  const id = await runContainer(daemon, pod, config);
  await afterReboot(pod);
  await change(state('containers', id, 'record.json'), (record) => {
    const { process } = record['state'] as { process: { pid: number; startTime: number } };
    Object.assign(process, identifyProcess(bystander.pid!));
  });
  await mkdir(state('containers', id, 'bundle'));
  await writeFile(state('containers', id, 'bundle/conmon.pid'), String(bystander.pid));
  await writeFile(state('exits', id), '3');
  await daemon.start({ env: {} });
  expect((await daemon.runtime.listPodSandbox()).items).toEqual([]);
  expect((await daemon.runtime.listContainers()).containers).toEqual([]);
  expect(daemon.log).toContain('discarded the state of an earlier boot');
  expect(await tracesOf(daemon, [pod.id, id])).toEqual([]);
  expect((await daemon.images.listImages()).images.length).toBe(1);
  // Its name and its address are free.
  await runContainer(daemon, await runPod(daemon, pod.config), config);
  await daemon.removePods();
});
