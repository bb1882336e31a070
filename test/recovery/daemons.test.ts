import { readFile, stat, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { criSuite, execIn, statusOf } from '../cri/suite.ts';
import {
  containerConfig,
  type Daemon,
  podConfig,
  prepareDaemon,
  runContainer,
  runPod,
  startDaemon,
} from '../harness/index.ts';

const suite = criSuite();

/** Starts a daemon that must refuse. Answers what it said. */
async function refused(args: readonly string[], before?: (daemon: Daemon) => Promise<unknown>) {
  await using daemon = await prepareDaemon({ args, network: 'none' });
  await before?.(daemon);
  daemon.launch();
  expect(await daemon.exited(20_000)).toBeTypeOf('number');
  expect(await daemon.exited()).not.toBe(0);
  return daemon.log;
}

test('a second daemon on the same state directory is refused, and the first goes on', async () => {
  const { daemon } = suite;
  const log = await refused(['--state', daemon.paths.state]);
  expect(log).toContain(`tate directory "${daemon.paths.state}" is in use`);
  expect(log).toContain(`process ${daemon.pid}`);
  await daemon.runtime.version();
  const pod = await runPod(daemon);
  await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
});

test('of two daemons that start together on one state directory, one is refused', async () => {
  await using first = await prepareDaemon({ network: 'none' });
  await using second = await prepareDaemon({
    args: ['--state', first.paths.state],
    network: 'none',
  });
  const starts = [first, second].map((daemon) =>
    daemon.start().then(
      () => true,
      () => false,
    ),
  );
  expect((await Promise.all(starts)).filter(Boolean).length).toBe(1);
});

test('a claim of a process that is gone, or of another with its pid, or garbage counts for nothing', async () => {
  const { daemon } = suite;
  const claim = `${daemon.paths.state}/daemon.json`;
  for (const text of [
    '{"pid":1,"startTime":12345678}',
    '{"pid":4194303,"startTime":1}',
    '',
    '[]',
    '{"pid":"1"}',
  ]) {
    await daemon.kill9();
    await writeFile(claim, text);
    await daemon.start();
    expect(JSON.parse(await readFile(claim, 'utf8')).pid).toBe(daemon.pid);
  }
});

test('a socket that a killed daemon left is replaced, with its mode', async () => {
  const { daemon } = suite;
  await daemon.kill9();
  expect((await stat(daemon.paths.socket)).isSocket()).toBe(true);
  await daemon.start();
  expect((await stat(daemon.paths.socket)).mode & 0o7777).toBe(0o660);
  expect((await daemon.runtime.version()).runtimeName).not.toBe('');
});

test('a socket that another daemon listens on is left to it', async () => {
  const { daemon } = suite;
  const log = await refused(['--listen', daemon.uri]);
  expect(log).toContain(`Socket "${daemon.paths.socket}" is in use`);
  await daemon.runtime.version();
});

test('a file in the place of the socket is no socket, and stays', async () => {
  const path = `${suite.daemon.directory}/precious`;
  await writeFile(path, 'precious');
  const log = await refused(['--listen', `unix://${path}`]);
  expect(log).toContain(`"${path}" is no socket`);
  expect(await readFile(path, 'utf8')).toBe('precious');
});

test('an orderly end removes the socket and the claim, and pods go on', async () => {
  const { daemon, image } = suite;
  const pod = await runPod(daemon);
  const id = await runContainer(daemon, pod, containerConfig(image));
  const before = await statusOf(daemon, id);
  expect(await daemon.stop()).toBe(0);
  await expect(stat(daemon.paths.socket)).rejects.toThrow('ENOENT');
  await daemon.start();
  expect(await statusOf(daemon, id)).toEqual(before);
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
});

test('daemons side by side have pods of the same name, and crash without harm to each other', async () => {
  const { daemon: first, image } = suite;
  await using second = await startDaemon();
  await second.images.pullImage({ image: { image } });
  const config = podConfig({ metadata: { name: 'twin', uid: 'twin', namespace: 'default' } });
  const [one, two] = await Promise.all([runPod(first, config), runPod(second, config)]);
  const ids = await Promise.all([
    runContainer(first, one, containerConfig(image)),
    runContainer(second, two, containerConfig(image)),
  ]);
  await first.kill9();
  expect(await execIn(second, ids[1]!, 'hostname')).toBe(config.hostname);
  await first.start();
  await second.kill9();
  await second.start();
  expect(await execIn(first, ids[0]!, 'hostname')).toBe(config.hostname);
  expect(await execIn(second, ids[1]!, 'hostname')).toBe(config.hostname);
  expect((await first.runtime.listContainers({ filter: { id: ids[1]! } })).containers).toEqual([]);
  await first.runtime.removePodSandbox({ podSandboxId: one.id });
  expect(await execIn(second, ids[1]!, 'ip addr show eth0 | grep -c "inet "')).toBe('1');
});
