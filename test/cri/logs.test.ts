import { readdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { ContainerConfig, DeepPartial } from '../../src/gen/runtime/v1/api.ts';
import {
  containerConfig,
  createContainer,
  logLines,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { gvisorRefuses } from './gvisor-limits.ts';
import { codeOf, criSuite, ended, execIn, shell, statusOf } from './suite.ts';

const suite = criSuite();
let pod: Pod;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

interface Line {
  time: string;
  stream: string;
  tag: string;
  text: string;
}

/** Runs a container to its end and answers its log, line by line. */
async function logOf(changes: DeepPartial<ContainerConfig>): Promise<Line[]> {
  const config = containerConfig(suite.image, changes);
  await ended(suite.daemon, await runContainer(suite.daemon, pod, config));
  const text = await readFile(join(pod.config.logDirectory, config.logPath), 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => {
      const [time = '', stream = '', tag = '', ...words] = line.split(' ');
      return { time, stream, tag, text: words.join(' ') };
    });
}

test('a line has time, stream, tag and text; its streams are told apart in order', async () => {
  const before = Date.now();
  const lines = await logOf(
    shell(
      'echo one; sleep 0.2; echo "two  words" >&2; sleep 0.2; echo; sleep 0.2; echo by name > /dev/stdout',
    ),
  );
  expect(lines.map(({ stream, tag, text }) => [stream, tag, text])).toEqual([
    ['stdout', 'F', 'one'],
    ['stderr', 'F', 'two  words'],
    ['stdout', 'F', ''],
    ['stdout', 'F', 'by name'],
  ]);
  for (const { time } of lines) {
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)$/);
    expect(Date.parse(time)).toBeGreaterThanOrEqual(before);
  }
});

test('output that ends without a line break is a partial line', async () => {
  const lines = await logOf(shell('echo whole; sleep 0.2; printf rest'));
  expect(lines.map(({ tag, text }) => [tag, text])).toEqual([
    ['F', 'whole'],
    ['P', 'rest'],
  ]);
});

test('a long line comes in parts that add up to it', async () => {
  const lines = await logOf(shell('head -c 50000 /dev/zero | tr "\\0" x; echo end'));
  expect(lines.length).toBeGreaterThan(1);
  expect(lines.map(({ tag }) => tag)).toEqual([...lines.slice(1).map(() => 'P'), 'F']);
  expect(lines.map(({ text }) => text).join('')).toBe(`${'x'.repeat(50000)}end`);
});

test('a terminal has one stream', gvisorRefuses, async () => {
  const lines = await logOf({ ...shell('test -t 1 && echo out; echo err >&2'), tty: true });
  expect(lines.map(({ stream, text }) => [stream, text.replace('\r', '')])).toEqual([
    ['stdout', 'out'],
    ['stdout', 'err'],
  ]);
});

test('a lot of output is all there when the container has ended', async () => {
  const lines = await logOf(shell('seq 1 20000'));
  const text = lines.map((line) => line.text + (line.tag === 'F' ? '\n' : '')).join('');
  expect(text).toBe(Array.from({ length: 20000 }, (_, index) => `${index + 1}\n`).join(''));
});

test('the log is there, readable for its group, before the container starts', async () => {
  const config = containerConfig(suite.image, { logPath: 'a/b/0.log' });
  await createContainer(suite.daemon, pod, config);
  const info = await stat(join(pod.config.logDirectory, 'a/b/0.log'));
  expect((info.mode & 0o777).toString(8)).toBe('640');
  expect((await stat(join(pod.config.logDirectory, 'a'))).mode & 0o777).toBe(0o755);
});

test('another attempt with the same path adds to the log', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, shell('echo again'));
  await ended(daemon, await runContainer(daemon, pod, config));
  config.metadata!.attempt = 1;
  await ended(daemon, await runContainer(daemon, pod, config));
  expect(await logLines(pod, config)).toEqual(['again', 'again']);
});

test('without a path, or a directory, there is no log', async () => {
  const { daemon, image } = suite;
  const noPath = containerConfig(image, { ...shell('echo lost'), logPath: '' });
  const id = await runContainer(daemon, pod, noPath);
  expect((await ended(daemon, id)).logPath).toBe('');
  const other = await runPod(daemon);
  other.config.logDirectory = '';
  const { podSandboxId } = await daemon.runtime.runPodSandbox({
    config: {
      ...other.config,
      metadata: { ...other.config.metadata, attempt: 1 },
    },
  });
  const noDirectory = containerConfig(image, shell('echo lost'));
  const second = await runContainer(daemon, { ...other, id: podSandboxId }, noDirectory);
  expect(await ended(daemon, second)).toMatchObject({ logPath: '', exitCode: 0 });
});

test('a path that leads out of the log directory is refused', async () => {
  const { daemon, image } = suite;
  for (const logPath of ['../x.log', 'a/../../x.log', '/tmp/keelson-test-x.log', 'a\0b']) {
    const call = createContainer(daemon, pod, containerConfig(image, { logPath }));
    expect(await codeOf(call), logPath).toBe('INVALID_ARGUMENT');
  }
  expect(await readdir(daemon.paths.logs)).not.toContain('x.log');
});

test('after a rename and ReopenContainerLog the log goes on in a new file', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(
    image,
    shell('i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done'),
  );
  const containerId = await runContainer(daemon, pod, config);
  const path = join(pod.config.logDirectory, config.logPath);
  await waitFor('a line', async () => (await logLines(pod, config)).length > 0);
  await rename(path, `${path}.old`);
  await daemon.runtime.reopenContainerLog({ containerId });
  expect((await stat(path)).ino).not.toBe((await stat(`${path}.old`)).ino);
  await waitFor('a line in the new file', async () => (await logLines(pod, config)).length > 2);
  const old = await readFile(`${path}.old`, 'utf8');
  await waitFor('more', async () => (await logLines(pod, config)).length > 6);
  expect(await readFile(`${path}.old`, 'utf8')).toBe(old);
  const last = old.trimEnd().split('\n').at(-1)!.split(' ')[3]!;
  expect((await logLines(pod, config))[0]).toBe(`${Number(last) + 1}`);
});

/** A container that begins a line in each stream, and ends both when told to. */
async function underWay(logPath: string) {
  const { daemon, image } = suite;
  const script = 'printf out-; printf err- >&2; while [ ! -e /go ]; do usleep 10000; done';
  const config = containerConfig(image, {
    ...shell(`${script}; echo put; echo or >&2; exec sleep 1000000`),
    logPath,
  });
  const containerId = await runContainer(daemon, pod, config);
  const path = join(pod.config.logDirectory, logPath);
  await waitFor('both lines', async () => (await recordsIn(path)).length === 2);
  await rename(path, `${path}.1`);
  return { containerId, path, reopen: () => daemon.runtime.reopenContainerLog({ containerId }) };
}

/** The records of a log file without their times, sorted. */
async function recordsIn(path: string): Promise<string[]> {
  const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1);
  return lines.map((line) => line.slice(line.indexOf(' ') + 1)).sort();
}

test('lines under way are ended in the file in which they began', async () => {
  const { containerId, path, reopen } = await underWay('ending/0.log');
  // Two at once: the second finds that all is done.
  const reopened = Promise.all([reopen(), reopen()]);
  await execIn(suite.daemon, containerId, 'touch /go');
  await reopened;
  const records = ['stderr F or', 'stderr P err-', 'stdout F put', 'stdout P out-'];
  expect(await recordsIn(`${path}.1`)).toEqual(records);
  expect(await readFile(path, 'utf8')).toBe('');
  expect((await stat(path)).mode & 0o777).toBe(0o640);
  expect(await readdir(join(path, '..'))).toEqual(['0.log', '0.log.1']);
  await suite.daemon.runtime.removeContainer({ containerId });
});

test('lines that do not end soon go on in the next file, tagged', async () => {
  const { containerId, path, reopen } = await underWay('prompt/0.log');
  await reopen();
  expect(await recordsIn(`${path}.1`)).toEqual(['stderr P err-', 'stdout P out-']);
  await execIn(suite.daemon, containerId, 'touch /go');
  await waitFor('both ends', async () => (await recordsIn(path)).length === 2);
  expect(await recordsIn(path)).toEqual(['stderr F or', 'stdout F put']);
  expect(await readdir(join(path, '..'))).toEqual(['0.log', '0.log.1']);
  await suite.daemon.runtime.removeContainer({ containerId });
});

test('a container may end while its lines are waited for', async () => {
  const { containerId, path, reopen } = await underWay('killed/0.log');
  const reopened = codeOf(reopen());
  const names = () => readdir(join(path, '..'));
  await waitFor('the rotation', async () => (await names()).includes('.0.log.keelson-next'));
  await suite.daemon.runtime.removeContainer({ containerId });
  expect(['OK', 'FAILED_PRECONDITION']).toContain(await reopened);
  expect(await recordsIn(`${path}.1`)).toEqual(['stderr P err-', 'stdout P out-']);
  expect((await names()).filter((name) => name.startsWith('.'))).toEqual([]);
});

test('ReopenContainerLog leaves a log that was not renamed as it is', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, { ...shell('echo once; exec sleep 1000000') });
  const containerId = await runContainer(daemon, pod, config);
  await waitFor('the line', async () => (await logLines(pod, config)).length === 1);
  const path = join(pod.config.logDirectory, config.logPath);
  const { ino } = await stat(path);
  await daemon.runtime.reopenContainerLog({ containerId });
  expect((await stat(path)).ino).toBe(ino);
  expect(await logLines(pod, config)).toEqual(['once']);
});

test('ReopenContainerLog needs a container that runs', async () => {
  const { daemon, image } = suite;
  const reopen = (containerId: string) =>
    codeOf(daemon.runtime.reopenContainerLog({ containerId }));
  const created = await createContainer(daemon, pod, containerConfig(image));
  expect(await reopen(created)).toBe('FAILED_PRECONDITION');
  await daemon.runtime.startContainer({ containerId: created });
  expect(await reopen(created)).toBe('OK');
  await daemon.runtime.stopContainer({ containerId: created });
  expect(await reopen(created)).toBe('FAILED_PRECONDITION');
  expect(await reopen('0123456789abcdef')).toBe('NOT_FOUND');
  expect(await reopen('')).toBe('INVALID_ARGUMENT');
  expect((await statusOf(daemon, created)).exitCode).toBe(137);
});
