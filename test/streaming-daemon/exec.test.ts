import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { codeOf, criSuite, ended, execIn, shell, statusOf } from '../cri/suite.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { CommandClient } from './command-client.ts';

const suite = criSuite();

describe.each(['crun', 'runc'])('with %s', (handler) => {
  let pod: Pod;
  let containerId: string;

  beforeAll(async () => {
    pod = await runPod(suite.daemon, {}, handler);
    containerId = await runContainer(suite.daemon, pod, containerConfig(suite.image));
  });

  const exec = (script: string, options: { stdin?: boolean; tty?: boolean; id?: string } = {}) => {
    const { id = containerId, ...streams } = options;
    return CommandClient.exec(suite.daemon, {
      containerId: id,
      cmd: ['/bin/sh', '-c', script],
      ...streams,
    });
  };
  const processes = (name: string) =>
    execIn(suite.daemon, containerId, `ps | grep -c "[${name[0]}]${name.slice(1)}" || true`);

  test('output, errors and exit code', async () => {
    const client = await exec('echo out; echo err >&2; exit 3');
    expect(await client.exitCode()).toBe(3);
    expect(client.stdout).toBe('out\n');
    expect(client.stderr).toBe('err\n');
    const quiet = await exec('true');
    expect(await quiet.exitCode()).toBe(0);
    expect(quiet.stdout + quiet.stderr).toBe('');
    expect(await (await exec('kill -KILL $$')).exitCode()).toBe(137);
  });

  test('input and its end, binary', async () => {
    const client = await exec('cat', { stdin: true });
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await client.type(bytes);
    await client.type('\n');
    await client.endInput();
    expect(await client.exitCode()).toBe(0);
    const expected = createHash('sha256').update(bytes).update('\n').digest('hex');
    expect(client.hash()).toBe(expected);
  });

  test('without input a command sees an end at once', async () => {
    const client = await exec('cat; echo done');
    expect(await client.exitCode()).toBe(0);
    expect(client.stdout).toBe('done\n');
  });

  test('what cannot be run ends with 127 or 126, and why', async () => {
    const run = async (cmd: string[], tty = false) => {
      const client = await CommandClient.exec(suite.daemon, { containerId, cmd, tty });
      return { code: await client.exitCode(), text: tty ? client.stdout : client.stderr };
    };
    const absent = await run(['/no/such/command']);
    expect(absent.code).toBe(127);
    expect(absent.text).toContain('/no/such/command');
    expect((await run(['no-such-command'])).code).toBe(127);
    expect((await run(['/etc/passwd'])).code).toBe(126);
    const onTerminal = await run(['/no/such/command'], true);
    expect(onTerminal.code).toBe(127);
    expect(onTerminal.text).toContain('/no/such/command');
  });

  test('user, directory and environment are those of the container', async () => {
    const id = await runContainer(
      suite.daemon,
      pod,
      containerConfig(suite.image, {
        envs: [{ key: 'GREETING', value: Buffer.from('hello') }],
        workingDir: '/tmp',
        linux: { securityContext: { runAsUser: { value: 1234n }, runAsGroup: { value: 55n } } },
      }),
    );
    const script = 'echo $GREETING $(pwd) $(id -u) $(id -g) $TERM; echo by-name > /dev/stdout';
    const plain = await exec(script, { id });
    expect(await plain.exitCode()).toBe(0);
    expect(plain.stdout).toBe('hello /tmp 1234 55\nby-name\n');
    const onTerminal = await exec(script, { id, tty: true });
    expect(await onTerminal.exitCode()).toBe(0);
    expect(onTerminal.stdout.replaceAll('\r', '')).toBe('hello /tmp 1234 55 xterm\nby-name\n');
  });

  test('a terminal: its size, resizing, signals by keys, exit code', async () => {
    const client = await exec(
      'stty size; trap "stty size" WINCH; trap "echo interrupted; exit 9" INT; ' +
        'echo ready; while :; do sleep 0.05; done',
      { stdin: true, tty: true },
    );
    await client.shows('ready\r');
    await client.resize(132, 43);
    await client.shows('43 132\r\n');
    await client.type('\x03');
    expect(await client.exitCode()).toBe(9);
    expect(client.stdout).toContain('interrupted\r\n');
  });

  test('short commands on a terminal lose nothing', async () => {
    for (let i = 0; i < 10; i++) {
      const client = await exec(`echo line ${i}`, { tty: true });
      expect(await client.exitCode()).toBe(0);
      // Until runc has set the terminal up, the kernel and runc's own terminal both translate.
      expect(client.stdout).toMatch(handler === 'runc' ? /^line \d\r+\n$/ : /^line \d\r\n$/);
    }
  });

  test('100 MB of output are complete', { timeout: 60_000 }, async () => {
    const cmd = ['/bin/sh', '-c', 'yes | head -c 100000000'];
    const client = await CommandClient.exec(suite.daemon, { containerId, cmd }, { discard: true });
    expect(await client.exitCode()).toBe(0);
    expect(client.received).toBe(100_000_000);
    expect(client.hash()).toBe(createHash('sha256').update('y\n'.repeat(50_000_000)).digest('hex'));
  });

  test('50 MB of input are complete', { timeout: 60_000 }, async () => {
    const client = await exec('sha256sum', { stdin: true });
    const chunk = Buffer.alloc(500_000, 'abcde');
    const hash = createHash('sha256');
    for (let i = 0; i < 100; i++) {
      hash.update(chunk);
      await client.type(chunk);
    }
    await client.endInput();
    expect(await client.exitCode()).toBe(0);
    expect(client.stdout).toBe(`${hash.digest('hex')}  -\n`);
  });

  test('a client that reads late still gets all, although the command has ended', async () => {
    const client = await exec('head -c 8000000 /dev/zero; echo > /tmp/wrote');
    client.socket.pause();
    // More than what a pipe holds waits in the daemon's and the kernel's buffers by now.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    client.socket.resume();
    expect(await client.exitCode()).toBe(0);
    expect(client.received).toBe(8_000_000);
    const short = await exec('head -c 3000000 /dev/zero');
    short.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    short.socket.resume();
    expect(await short.exitCode()).toBe(0);
    expect(short.received).toBe(3_000_000);
  });

  test('a program left in the background does not hold the session', async () => {
    // runc copies the output of a command without a terminal until nobody has it open.
    if (handler !== 'runc') {
      const client = await exec('sleep 54321 & echo started; exit 4');
      expect(await client.exitCode()).toBe(4);
      expect(client.stdout).toBe('started\n');
    }
    const onTerminal = await exec('trap "" HUP; sleep 54321 & echo started; exit 5', { tty: true });
    expect(await onTerminal.exitCode()).toBe(5);
    expect(onTerminal.stdout).toContain('started\r');
    await execIn(
      suite.daemon,
      containerId,
      'kill $(ps | grep "[s]leep 54321" | awk \'{print $1}\')',
    );
  });

  test('when the client leaves, the process group ends and nothing else', async () => {
    const other = await exec('echo other; exec sleep 71001');
    await other.shows('other\n');
    const client = await exec('sleep 71002 & echo here; sleep 71003');
    await client.shows('here\n');
    await client.vanish();
    await waitFor('the end of the group', async () => (await processes('sleep 7100[23]')) === '0');
    expect(await processes('sleep 71001')).toBe('1');
    expect((await statusOf(suite.daemon, containerId)).state).toBe(1);
    await other.vanish();
    await waitFor('the end of the other', async () => (await processes('sleep 71001')) === '0');
  });

  test('when the client leaves, a command on a terminal ends', async () => {
    const client = await exec('echo here; trap "" HUP; sleep 72001', { tty: true, stdin: true });
    await client.shows('here');
    await client.vanish();
    await waitFor('its end', async () => (await processes('sleep 72001')) === '0');
  });

  test('clients that leave at once leave nothing behind', async () => {
    for (let i = 0; i < 20; i++) {
      const client = await exec('sleep 73001', { tty: i % 2 === 0 });
      await new Promise((resolve) => setTimeout(resolve, (i % 10) * 6));
      await client.vanish();
    }
    await waitFor('the end of all', async () => (await processes('sleep 73001')) === '0');
    const files = () => readdir(join(suite.daemon.paths.state, 'exec'));
    await waitFor('no files', async () => (await files()).length === 0);
  });

  test('a container that ends takes its sessions with it', async () => {
    const id = await runContainer(suite.daemon, pod, containerConfig(suite.image));
    const plain = await exec('echo here; sleep 1000000', { id });
    const onTerminal = await exec('echo here; sleep 1000000', { id, tty: true });
    await Promise.all([plain.shows('here'), onTerminal.shows('here')]);
    await suite.daemon.runtime.stopContainer({ containerId: id });
    expect(await plain.exitCode()).toBe(137);
    expect(await onTerminal.exitCode()).toBe(137);
  });

  test('short commands leave nothing in the daemon', { timeout: 120_000 }, async () => {
    const { daemon } = suite;
    const descriptors = async () => (await readdir(`/proc/${daemon.pid}/fd`)).length;
    const run = async (count: number) => {
      for (let i = 0; i < count; i += 5) {
        const codes = await Promise.all(
          [0, 1, 2, 3, 4].map(async (j) => {
            const client = await exec(`exit ${j}`, { tty: j === 4, stdin: j === 3 });
            return client.exitCode();
          }),
        );
        expect(codes).toEqual([0, 1, 2, 3, 4]);
      }
    };
    await run(20);
    const before = await waitFor('quiet', descriptors);
    await run(100);
    await waitFor('no more descriptors', async () => (await descriptors()) <= before + 2);
    const children = await readFile(`/proc/${daemon.pid}/task/${daemon.pid}/children`, 'utf8');
    expect(children).toBe('');
    expect(await readdir(join(daemon.paths.state, 'exec'))).toEqual([]);
  });
});

test('only containers that run take commands, also when they end before the client comes', async () => {
  const { daemon } = suite;
  const pod = await runPod(daemon);
  const done = await runContainer(daemon, pod, containerConfig(suite.image, shell('true')));
  await ended(daemon, done);
  const request = { cmd: ['/bin/true'], stdout: true };
  expect(await codeOf(daemon.runtime.exec({ containerId: done, ...request }))).toBe(
    'FAILED_PRECONDITION',
  );
  const id = await runContainer(daemon, pod, containerConfig(suite.image));
  const { url } = await daemon.runtime.exec({ containerId: id, ...request });
  await daemon.runtime.stopContainer({ containerId: id });
  const status = await new CommandClient(url, {}).status();
  expect(status).toMatchObject({ status: 'Failure', reason: 'InternalError' });
  expect(status.message).toContain('not running');
  const invalid = async (changes: object) =>
    expect(await codeOf(daemon.runtime.exec({ containerId: id, ...request, ...changes }))).not.toBe(
      'OK',
    );
  await invalid({ cmd: [] });
  await invalid({ cmd: ['a\0b'] });
  await invalid({ stdout: false });
  await invalid({ tty: true, stderr: true });
  await invalid({ containerId: '' });
});
