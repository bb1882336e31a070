import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { codeOf, criSuite, execIn, shell } from '../cri/suite.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { tracesOf } from '../recovery/traces.ts';
import { ScriptedRuntime } from './scripted-runtime.ts';

// Containers are held still for real; in place of criu, which most kernels here have too new
// a form for, a script writes the images. test/cri/checkpoint.test.ts has the real one.
const runtime = await ScriptedRuntime.create();
const programs = join(runtime.directory, 'criu');
await mkdir(programs);
await writeFile(join(programs, 'criu'), '#!/bin/sh\n', { mode: 0o755 });
const env = { PATH: `${programs}:${process.env['PATH']}` };
afterAll(() => runtime[Symbol.asyncDispose]());
const config = `${runtime.config}[containers]\nrestore_checkpoints = true\n`;
const suite = criSuite({ config, env });

let pod: Pod;
let directory: string;
let serial = 0;

beforeAll(async () => {
  pod = await runPod(suite.daemon, {}, 'scripted');
});

beforeEach(async () => {
  directory = join(suite.daemon.directory, `checkpoints-${serial++}`);
  await mkdir(directory);
});

async function counting(): Promise<string> {
  const script =
    'rm -r /var/www; echo new > /etc/new; i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; sleep 0.1; done';
  const id = await runContainer(suite.daemon, pod, containerConfig(suite.image, shell(script)));
  await waitFor('a count', () => execIn(suite.daemon, id, 'test $(cat /count) -gt 1'));
  return id;
}

function checkpoint(containerId: string, timeout = 0n): Promise<string> {
  const location = join(directory, 'checkpoint.tar');
  return codeOf(suite.daemon.runtime.checkpointContainer({ containerId, location, timeout }));
}

const count = async (id: string) => Number(await execIn(suite.daemon, id, 'cat /count'));

async function expectToGoOn(id: string): Promise<void> {
  const before = await count(id);
  await waitFor('the count to go on', async () => (await count(id)) > before);
}

const workOf = (id: string) => join(suite.daemon.paths.root, 'containers', id, 'checkpoint');

/** Nothing is left of a checkpoint, but what it was to make, and the container goes on. */
async function expectUndone(id: string, made: string[] = []): Promise<void> {
  const bundle = join(suite.daemon.paths.state, 'containers', id, 'bundle');
  await waitFor('the end', async () => !(await readdir(bundle)).includes('checkpoint'));
  expect(existsSync(workOf(id))).toBe(false);
  expect(await readdir(directory)).toEqual(made);
  await expectToGoOn(id);
}

test('a checkpoint leaves its archive and nothing else', async () => {
  const id = await counting();
  expect(await checkpoint(id)).toBe('OK');
  await expectUndone(id, ['checkpoint.tar']);
});

test('a container is made with what the one of the checkpoint had changed', async () => {
  const { daemon } = suite;
  expect(await checkpoint(await counting())).toBe('OK');
  const location = join(directory, 'checkpoint.tar');
  const containerId = await createContainer(daemon, pod, containerConfig(location));
  const root = join(daemon.paths.state, 'containers', containerId, 'rootfs');
  expect(await readFile(join(root, 'etc/new'), 'utf8')).toBe('new\n');
  expect(existsSync(join(root, 'bin/busybox'))).toBe(true);
  expect(existsSync(join(root, 'var/www'))).toBe(false);
  await runtime.fail('restore', 'no such luck');
  expect(await codeOf(daemon.runtime.startContainer({ containerId }))).not.toBe('OK');
  await runtime.mend('restore');
  await daemon.runtime.removeContainer({ containerId });
  expect(await tracesOf(daemon, [containerId])).toEqual([]);
});

test('a runtime that fails: the container goes on', async () => {
  const id = await counting();
  await runtime.fail('checkpoint', 'no such luck');
  expect(await checkpoint(id)).toBe('UNKNOWN');
  await runtime.mend('checkpoint');
  await expectUndone(id);
});

test('what ends after its time is dropped', async () => {
  const id = await counting();
  await runtime.hang('checkpoint');
  expect(await checkpoint(id, 1n)).toBe('DEADLINE_EXCEEDED');
  expect(existsSync(workOf(id))).toBe(true);
  await runtime.mend('checkpoint');
  await expectUndone(id);
});

test('a place that cannot be written to', async () => {
  const id = await counting();
  await rm(directory, { recursive: true });
  expect(await checkpoint(id)).not.toBe('OK');
  await mkdir(directory);
  await expectUndone(id);
});

test('a daemon that dies waits for the runtime at its next start, and serves others', async () => {
  const { daemon } = suite;
  const id = await counting();
  const calls = await runtime.calls('checkpoint');
  await runtime.hang('checkpoint');
  const call = checkpoint(id);
  await runtime.called('checkpoint', calls + 1);
  await daemon.kill9();
  expect(await call).toBe('UNAVAILABLE');
  await daemon.start({ env });
  await expectToGoOn(await counting());
  expect(existsSync(workOf(id))).toBe(true);
  await runtime.mend('checkpoint');
  await expectUndone(id);
});

test.each(['paused', 'dumped', 'packed'])('a daemon that dies at "%s"', async (point) => {
  const { daemon } = suite;
  await daemon.restart({ env: { ...env, KEELSON_FAULT_POINT: `checkpoint/${point}` } });
  const id = await counting();
  expect(await checkpoint(id)).toBe('UNAVAILABLE');
  await daemon.exited();
  await daemon.start({ env });
  await expectUndone(id);
});
