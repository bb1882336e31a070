import { mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { codeOf, criSuite, ended, shell } from '../cri/suite.ts';
import {
  containerConfig,
  createContainer,
  output,
  type Pod,
  runContainer,
  runPod,
  startDaemon,
  waitFor,
} from '../harness/index.ts';

// Who can write to a pod's log directory, or floods it, against monitors that write as root.
const suite = criSuite({ config: '[containers]\nlog_size_max = "64KiB"\n' });
let pod: Pod;
let target: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

beforeEach(async () => {
  target = join(suite.daemon.directory, 'target');
  await rm(target, { recursive: true, force: true });
  await writeFile(target, 'of the host');
});

const logged = (logPath: string) =>
  containerConfig(suite.image, { ...shell('echo evil; sleep 1000000'), logPath });

async function refusal(logPath: string): Promise<void> {
  expect(await codeOf(createContainer(suite.daemon, pod, logged(logPath)))).toBe(
    'FAILED_PRECONDITION',
  );
  expect(await readFile(target, 'utf8')).toBe('of the host');
}

test('a log that is a link is not written', async () => {
  await symlink(target, join(pod.config.logDirectory, 'link.log'));
  await refusal('link.log');
  await symlink(join(suite.daemon.directory, 'new'), join(pod.config.logDirectory, 'dangling.log'));
  await refusal('dangling.log');
  expect(await stat(join(suite.daemon.directory, 'new')).catch(() => 'absent')).toBe('absent');
});

test('a log below a link is not written', async () => {
  const outside = join(suite.daemon.directory, 'outside');
  await mkdir(outside);
  await symlink(outside, join(pod.config.logDirectory, 'directory'));
  await refusal('directory/0.log');
  expect(await stat(join(outside, '0.log')).catch(() => 'absent')).toBe('absent');
});

test('a log that is a FIFO or a directory hangs nothing', async () => {
  await output('mkfifo', join(pod.config.logDirectory, 'fifo.log'));
  await mkdir(join(pod.config.logDirectory, 'directory.log'));
  // More than there are threads to wait in.
  await Promise.all(Array.from({ length: 8 }, () => refusal('fifo.log')));
  await refusal('directory.log');
});

test('a log directory that is itself behind a link is as good as any', async () => {
  const real = join(suite.daemon.directory, 'real-logs');
  await mkdir(real);
  await symlink(real, join(suite.daemon.directory, 'logs-link'));
  const linked = await runPod(suite.daemon, {
    logDirectory: join(suite.daemon.directory, 'logs-link'),
  });
  await runContainer(suite.daemon, linked, logged('a/0.log'));
  await waitFor('the line', async () =>
    (await readFile(join(real, 'a/0.log'), 'utf8')).includes('evil'),
  );
});

test('a log that became a link is not opened again', async () => {
  const containerId = await runContainer(suite.daemon, pod, logged('later.log'));
  const path = join(pod.config.logDirectory, 'later.log');
  await rename(path, `${path}.1`);
  await symlink(target, path);
  expect(await codeOf(suite.daemon.runtime.reopenContainerLog({ containerId }))).toBe(
    'FAILED_PRECONDITION',
  );
  expect(await readFile(target, 'utf8')).toBe('of the host');
});

test('a log is not opened again through a link either', async () => {
  const containerId = await runContainer(suite.daemon, pod, logged('again.log'));
  const reopen = () => codeOf(suite.daemon.runtime.reopenContainerLog({ containerId }));
  const path = join(pod.config.logDirectory, 'again.log');
  await rename(path, `${path}.1`);
  // By this name the monitor opens it at first.
  await symlink(target, `${path}.tmp`);
  expect(await reopen()).toBe('FAILED_PRECONDITION');
  expect(await readFile(target, 'utf8')).toBe('of the host');
  await rm(`${path}.tmp`);
  expect(await reopen()).toBe('OK');
  expect((await stat(path)).isFile()).toBe(true);
});

test('what stands where a rotation puts its files is not written', async () => {
  const unlimited = await startDaemon();
  try {
    const own = await runPod(unlimited);
    await unlimited.images.pullImage({ image: { image: suite.image } });
    const containerId = await runContainer(unlimited, own, logged('0.log'));
    const reopen = () => codeOf(unlimited.runtime.reopenContainerLog({ containerId }));
    const path = join(own.config.logDirectory, '0.log');
    await rename(path, `${path}.1`);
    for (const name of ['.0.log.keelson-next', '.0.log.keelson-old', '0.log.tmp']) {
      await symlink(target, join(own.config.logDirectory, name));
    }
    expect(await reopen()).toBe('OK');
    expect(await readFile(target, 'utf8')).toBe('of the host');
    expect((await stat(path)).isFile()).toBe(true);
  } finally {
    await unlimited[Symbol.asyncDispose]();
  }
});

test('a container that writes without end fills neither disk nor daemon', async () => {
  const { daemon, image } = suite;
  const flood = shell('yes "$(head -c 4000 /dev/zero | tr "\\0" x)" & exec cat /dev/zero');
  const config = containerConfig(image, flood);
  const containerId = await runContainer(daemon, pod, config);
  const path = join(pod.config.logDirectory, config.logPath);
  const inodes = new Set<number>();
  await waitFor('the log to begin anew a few times', async () => {
    const { ino, size, mtimeMs } = await stat(path).catch(() => ({ ino: 0, size: 0, mtimeMs: 0 }));
    expect(size).toBeLessThan(128 << 10);
    return inodes.add(mtimeMs + ino).size > 5;
  });
  await daemon.runtime.version({}, { timeout: 5000 });
  await daemon.runtime.stopContainer({ containerId });
  expect((await ended(daemon, containerId)).exitCode).toBe(137);
  const { VmRSS } = Object.fromEntries(
    (await readFile(`/proc/${daemon.pid}/status`, 'utf8')).split('\n').map((l) => l.split(/:\s+/)),
  );
  expect(Number.parseInt(VmRSS, 10)).toBeLessThan(400 << 10);
});
