import { randomBytes } from 'node:crypto';
import { beforeAll, expect, test } from 'vitest';
import { busyboxImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { codeOf, criSuite, ended, execIn, statusOf } from './suite.ts';

const suite = criSuite();
let pod: Pod;
let containerId: string;

beforeAll(async () => {
  pod = await runPod(suite.daemon);
  containerId = await runContainer(suite.daemon, pod, containerConfig(suite.image));
});

async function exec(script: string, timeout = 0n, id = containerId) {
  const cmd = ['/bin/sh', '-c', script];
  const answer = await suite.daemon.runtime.execSync({ containerId: id, cmd, timeout });
  return {
    exitCode: answer.exitCode,
    stdout: answer.stdout.toString(),
    stderr: answer.stderr.toString(),
  };
}

test('stdout, stderr and exit code come back, bytes unchanged', async () => {
  expect(await exec('echo out; echo err >&2; exit 3')).toEqual({
    exitCode: 3,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  expect(await exec('true')).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  const { stdout } = await suite.daemon.runtime.execSync({
    containerId,
    cmd: ['/bin/printf', '\\377\\000\\n\\200'],
  });
  expect([...stdout]).toEqual([0xff, 0, 0x0a, 0x80]);
});

test('arguments arrive as they are', async () => {
  const words = ['a b', '', '$HOME', '"quoted"', "it's", 'zwölf', '\\n', 'line\nbreak'];
  const { stdout } = await suite.daemon.runtime.execSync({
    containerId,
    cmd: ['/bin/printf', '%s|', ...words],
  });
  expect(stdout.toString()).toBe(words.map((word) => `${word}|`).join(''));
});

test('a command runs with the environment, directory and user of its container', async () => {
  const { daemon, image } = suite;
  const id = await runContainer(
    daemon,
    pod,
    containerConfig(image, {
      envs: [{ key: 'GREETING', value: Buffer.from('hello') }],
      workingDir: '/tmp',
      linux: { securityContext: { runAsUser: { value: 1234n }, runAsGroup: { value: 55n } } },
    }),
  );
  expect((await exec('echo $GREETING; pwd; id -u; id -g', 0n, id)).stdout).toBe(
    'hello\n/tmp\n1234\n55\n',
  );
});

test('a command killed by a signal ends with 128 and its number', async () => {
  expect((await exec('kill -TERM $$')).exitCode).toBe(143);
  expect((await exec('kill -KILL $$')).exitCode).toBe(137);
});

test('a command that is not there ends with 127, one that is no program with 126', async () => {
  const run = async (...cmd: string[]) => {
    const { exitCode, stderr } = await suite.daemon.runtime.execSync({ containerId, cmd });
    return { exitCode, stderr: stderr.toString() };
  };
  const absent = await run('/no/such/command');
  expect(absent.exitCode).toBe(127);
  expect(absent.stderr).toContain('/no/such/command');
  expect((await run('no-such-command')).exitCode).toBe(127);
  expect((await run('/etc/passwd')).exitCode).toBe(126);
  expect((await run('/etc')).exitCode).toBe(126);
  expect((await exec('exit 127')).exitCode).toBe(127);
  expect((await exec('exit 126')).stderr).toBe('');
});

test('when the time is over the command is killed, and nothing but the command', async () => {
  const call = exec('echo $$ > /tmp/victim; sleep 1000000', 1n);
  await expect(call).rejects.toMatchObject({ code: 4 });
  const victim = await execIn(suite.daemon, containerId, 'cat /tmp/victim');
  await waitFor('the end of the command', async () => {
    const { exitCode } = await exec(`kill -0 ${victim}`);
    return exitCode !== 0;
  });
  expect(await execIn(suite.daemon, containerId, 'ps | grep -c "[s]leep"')).toBe('1');
  expect((await statusOf(suite.daemon, containerId)).state).toBe(1);
});

test('a time limit that is not reached changes nothing', async () => {
  expect(await exec('echo quick; exit 9', 30n)).toEqual({
    exitCode: 9,
    stdout: 'quick\n',
    stderr: '',
  });
});

test('when the client gives up the command is killed', async () => {
  const abort = new AbortController();
  const cmd = ['/bin/sh', '-c', 'echo $$ > /tmp/orphan; sleep 1000000'];
  const call = suite.daemon.runtime.execSync({ containerId, cmd }, { signal: abort.signal });
  const end = codeOf(call);
  const pid = await waitFor('the command', async () =>
    (await exec('cat /tmp/orphan')).stdout.trim(),
  );
  abort.abort();
  expect(await end).toBe('CANCELLED');
  await waitFor('its end', async () => (await exec(`kill -0 ${pid}`)).exitCode !== 0);
});

test('output is bounded so that kubelets take the answer, and the rest blocks nobody', async () => {
  // Message size that a kubelet takes.
  const limit = 16 << 20;
  const run = async (script: string) => {
    const cmd = ['/bin/sh', '-c', script];
    return suite.daemon.runtime.execSync({ containerId, cmd });
  };
  const one = await run('head -c 20000000 /dev/zero; echo done >&2; exit 5');
  expect(one.exitCode).toBe(5);
  expect(one.stdout.length).toBeGreaterThan(15 << 20);
  expect(one.stdout.length).toBeLessThan(limit);
  expect(one.stderr.toString()).toBe('done\n');
  const both = await run('head -c 20000000 /dev/zero; head -c 9000000 /dev/zero >&2');
  expect(both.exitCode).toBe(0);
  expect(both.stdout.length).toBeGreaterThan(7 << 20);
  expect(both.stderr.length).toBeGreaterThan(7 << 20);
  expect(both.stdout.length + both.stderr.length).toBeLessThan(limit);
});

test('a program left in the background does not hold the answer', async () => {
  const { stdout, exitCode } = await exec('sleep 1000000 & echo started; exit 4');
  expect({ stdout, exitCode }).toEqual({ stdout: 'started\n', exitCode: 4 });
  await exec('kill $(ps | grep "[s]leep 1000000" | awk \'$1 != 1 { print $1 }\')');
});

test('stdin is empty, and stdout and stderr can be opened by name', async () => {
  expect((await exec('cat; echo end')).stdout).toBe('end\n');
  expect((await exec('echo by-name > /dev/stdout')).stdout).toBe('by-name\n');
  expect((await exec('echo by-name > /dev/stderr')).stderr).toBe('by-name\n');
});

test('commands at the same time do not mix', async () => {
  const numbers = Array.from({ length: 8 }, (_, index) => index);
  const answers = await Promise.all(numbers.map((n) => exec(`seq ${n}000 ${n}999; exit ${n}`)));
  for (const n of numbers) {
    const expected = Array.from({ length: 1000 }, (_, index) => `${n * 1000 + index}\n`).join('');
    expect(answers[n]!.stdout).toBe(n === 0 ? expected.replaceAll(/^0*(\d)/gm, '$1') : expected);
    expect(answers[n]!.exitCode).toBe(n);
  }
});

test('only a container that runs takes commands, and only commands', async () => {
  const { daemon, image } = suite;
  const { runtime } = daemon;
  const cmd = ['/bin/true'];
  const run = (id: string) => codeOf(runtime.execSync({ containerId: id, cmd }));
  expect(await run(randomBytes(32).toString('hex'))).toBe('NOT_FOUND');
  expect(await run('')).toBe('INVALID_ARGUMENT');
  const created = await createContainer(daemon, pod, containerConfig(image));
  expect(await run(created)).toBe('FAILED_PRECONDITION');
  const done = await runContainer(daemon, pod, containerConfig(image, { command: ['/bin/true'] }));
  await ended(daemon, done);
  expect(await run(done)).toBe('FAILED_PRECONDITION');
  const invalid = async (request: object) =>
    expect(await codeOf(runtime.execSync({ containerId, cmd, ...request }))).toBe(
      'INVALID_ARGUMENT',
    );
  await invalid({ cmd: [] });
  await invalid({ cmd: [''] });
  await invalid({ cmd: ['a\0b'] });
  await invalid({ timeout: -1n });
});

test('a container that ends takes its commands with it', async () => {
  const { daemon, image } = suite;
  const id = await runContainer(daemon, pod, containerConfig(image));
  const call = exec('echo > /tmp/here; sleep 1000000', 0n, id);
  const outcome = call.then(({ exitCode }) => exitCode);
  await waitFor('the command', async () => (await exec('ls /tmp/here', 0n, id)).exitCode === 0);
  await daemon.runtime.stopContainer({ containerId: id });
  expect(await outcome).toBe(137);
});

test('PATH of the container is searched', async () => {
  const { daemon } = suite;
  const reference = await suite.add(
    'path',
    busyboxImage({
      config: { Env: ['PATH=/opt/own:/bin'], Cmd: ['sleep', '1000000'] },
      files: [{ path: 'opt/own/hello', content: '#!/bin/sh\necho from own\n', mode: 0o755 }],
    }),
  );
  const id = await runContainer(daemon, pod, containerConfig(reference, { command: [] }));
  const { stdout } = await daemon.runtime.execSync({ containerId: id, cmd: ['hello'] });
  expect(stdout.toString()).toBe('from own\n');
});
