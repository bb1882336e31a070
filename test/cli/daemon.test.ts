import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { type Daemon, startDaemon, waitFor } from '../harness/index.ts';
import { Kept, keelson } from './fake-cri.ts';

let registry: RegistryFixture;
let daemon: Daemon;
let image: string;

beforeAll(async () => {
  registry = await startRegistry();
  image = `${registry.host}/busybox:1`;
  await pushImage({ url: registry.url, repository: 'busybox' }, '1', busyboxImage());
  daemon = await startDaemon();
});

afterAll(async () => {
  try {
    await daemon?.[Symbol.asyncDispose]();
  } finally {
    await registry?.stop();
  }
});

function run(...args: string[]) {
  return keelson(['-r', daemon.uri, ...args]);
}

/** The only line of stdout of a command that must succeed. */
async function output(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stderr: stderr.replace(/^Pull.*\n/gm, '') }).toEqual({ code: 0, stderr: '' });
  return stdout.trim();
}

it('runs an image to its end and leaves nothing of it', async () => {
  const script = 'echo out; echo err >&2; exit 7';
  const { code, stdout, stderr } = await run('run', '--rm', image, '--', 'sh', '-c', script);
  expect(stdout).toBe('out\n');
  expect(stderr).toMatch(/^Pulling .*\n(Downloaded .*\n)*Pulled .* s\nerr\n$/);
  expect(code).toBe(7);
  expect(await output('pods', '-q')).toBe('');
});

it('keeps a pod that ended until it is removed with its log', async () => {
  expect((await run('run', '--name', 'kept', image, 'echo', 'word')).code).toBe(0);
  const pod = await output('pods', '-q', '--name', '^kept$');
  const container = await output('ps', '-aq', '--pod', pod);
  const { status } = JSON.parse(await output('inspect', container));
  expect(status).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 0, reason: 'Completed' });
  expect(await output('logs', container)).toBe('word');
  expect(await output('rmp', pod)).toBe(`Removed sandbox ${pod}`);
  expect(existsSync(status.logPath)).toBe(false);
});

it('leaves no pod when the command cannot be run', async () => {
  const { code, stderr } = await run('run', image, '/absent');
  expect(code).toBe(125);
  expect(stderr).toMatch(/^keelson: cannot .*\/absent/);
  expect(await output('pods', '-q')).toBe('');
});

it('follows the log of a running container across a rotation', async () => {
  const script = 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.05; done';
  const id = await output('run', '-d', '-e', 'A=b c', image, 'sh', '-c', script);
  const { status } = JSON.parse(await output('inspect', '-q', id));
  const stdout = new Kept();
  const following = keelson(['-r', daemon.uri, 'logs', '-f', id], { stdout });
  await waitFor('lines', () => stdout.text.includes('line 3\n'));
  await rename(status.logPath, `${status.logPath}.1`);
  await daemon.runtime.reopenContainerLog({ containerId: id });
  const before = stdout.text.split('\n').length;
  await waitFor('more lines', () => stdout.text.split('\n').length > before + 5);
  expect(await output('exec', '--sync', id, 'sh', '-c', 'echo $A')).toBe('b c');
  expect((await run('exec', id, 'false')).code).toBe(1);
  expect(await output('stop', id.slice(0, 12))).toBe(id.slice(0, 12));
  expect((await following).code).toBe(0);
  const lines = stdout.text.trim().split('\n');
  expect(lines).toEqual(lines.map((_, index) => `line ${index}`));
  await output('rmp', '-fa');
});

it('makes pods and containers from files', async () => {
  const [pod, container] = [join(daemon.directory, 'pod.json'), join(daemon.directory, 'c.yaml')];
  const logs = join(daemon.directory, 'logs', 'from-file');
  await mkdir(dirname(pod), { recursive: true });
  await writeFile(
    pod,
    `{"metadata":{"name":"p","namespace":"n"},"log_directory":"${logs}","linux":{}}`,
  );
  await writeFile(
    container,
    `metadata: {name: c}\nimage: {image: "${image}"}\ncommand: [sleep, "1000"]\nlog_path: c.log\n`,
  );
  const podId = await output('runp', '-r', 'runc', pod);
  const id = await output('create', podId, container, pod);
  expect(await output('ps', '-q')).toBe('');
  expect(await output('start', id)).toBe(id);
  expect(await output('ps', '-q')).toBe(id);
  const { status } = JSON.parse(await output('inspectp', podId));
  expect(status).toMatchObject({ state: 'SANDBOX_READY', runtimeHandler: 'runc' });
  expect(await run('rm', id)).toMatchObject({ code: 1 });
  expect(await output('rm', '-f', id)).toBe(id);
  expect(existsSync(join(logs, 'c.log'))).toBe(false);
  expect(await output('stopp', podId)).toBe(`Stopped sandbox ${podId}`);
  expect(await output('rmp', podId)).toBe(`Removed sandbox ${podId}`);
  expect(await run('rmp', podId)).toMatchObject({ code: 3 });
});

it('tells of the daemon and its images', async () => {
  expect(await output('version')).toContain('RuntimeApiVersion:  v1');
  const { status, runtimeHandlers } = JSON.parse(await output('info'));
  expect(status.conditions).toContainEqual(
    expect.objectContaining({ type: 'NetworkReady', status: true }),
  );
  expect(runtimeHandlers.map(({ name }: { name?: string }) => name)).toContain('runc');
  const { status: store } = JSON.parse(await output('imagefsinfo'));
  expect(Number(store.imageFilesystems[0].usedBytes.value)).toBeGreaterThan(1e6);
  expect(JSON.parse(await output('inspecti', image)).status.repoTags).toEqual([image]);
  expect(await output('rmi', '--prune')).toBe(`Deleted: ${image}`);
  expect(await output('images', '-q')).toBe('');
  expect((await run('run', '--pull', 'never', image)).code).toBe(125);
});
