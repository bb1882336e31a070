import { readdir } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { codeOf, criSuite, ended, execIn, shell, statusOf } from '../cri/suite.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { CommandClient } from './command-client.ts';

const suite = criSuite();

describe.each(['crun', 'runc'])('with %s', (handler) => {
  let pod: Pod;

  beforeAll(async () => {
    pod = await runPod(suite.daemon, {}, handler);
  });

  const run = (script: string, options: { stdin?: boolean; stdinOnce?: boolean; tty?: boolean }) =>
    runContainer(suite.daemon, pod, containerConfig(suite.image, { ...shell(script), ...options }));
  const attach = (containerId: string, streams: { stdin?: boolean; tty?: boolean } = {}) =>
    CommandClient.attach(suite.daemon, { containerId, ...streams });
  const ECHO =
    'while read line; do echo "got $line"; echo "err $line" >&2; [ "$line" = bye ] && exit 6; done';

  test('several clients share input, both outputs and the exit code', async () => {
    const id = await run(ECHO, { stdin: true });
    const [first, second, third] = await Promise.all([
      attach(id, { stdin: true }),
      attach(id, { stdin: true }),
      attach(id),
    ]);
    await first.type('one\n');
    await Promise.all([first, second, third].map((client) => client.shows('got one\n')));
    await third.vanish();
    await second.type('two\n');
    await Promise.all([first, second].map((client) => client.shows('got two\n')));
    await first.type('bye\n');
    expect(await first.exitCode()).toBe(6);
    expect(await second.exitCode()).toBe(6);
    expect(first.stdout).toBe('got one\ngot two\ngot bye\n');
    expect(second.stderr).toBe('err one\nerr two\nerr bye\n');
    expect((await statusOf(suite.daemon, id)).exitCode).toBe(6);
  });

  test('a client that leaves leaves the container alone, and another takes over', async () => {
    const id = await run(ECHO, { stdin: true });
    const first = await attach(id, { stdin: true });
    await first.type('one\n');
    await first.shows('got one\n');
    await first.endInput();
    await first.vanish();
    const second = await attach(id, { stdin: true });
    await second.type('two\n');
    await second.shows('got two\n');
    expect(second.stdout).not.toContain('one');
    await second.type('bye\n');
    expect(await second.exitCode()).toBe(6);
  });

  test('stdinOnce: the end of the first input is the end of all input', async () => {
    const id = await run('cat; echo at the end; exit 7', { stdin: true, stdinOnce: true });
    const client = await attach(id, { stdin: true });
    await client.type('text\n');
    await client.shows('text\n');
    await client.endInput();
    expect(await client.exitCode()).toBe(7);
    expect(client.stdout).toBe('text\nat the end\n');
  });

  test('without stdinOnce, the end of an input leaves that of the container open', async () => {
    const id = await run(ECHO, { stdin: true });
    const first = await attach(id, { stdin: true });
    await first.endInput();
    const second = await attach(id, { stdin: true });
    await second.type('still here\nbye\n');
    expect(await second.exitCode()).toBe(6);
    expect(second.stdout).toBe('got still here\ngot bye\n');
    expect(await first.exitCode()).toBe(6);
    expect(first.stdout).toContain('got bye\n');
  });

  test('a terminal: input, resizing, the end', async () => {
    const script =
      'trap "stty size" WINCH; >/ready; while :; do read line && echo "got $line" && [ "$line" = bye ] && exit 8; done';
    const id = await run(script, { stdin: true, tty: true });
    await execIn(suite.daemon, id, 'until [ -e /ready ]; do sleep 0.1; done');
    const client = await attach(id, { stdin: true, tty: true });
    await client.resize(99, 33);
    await client.shows('33 99\r\n');
    await client.resize(132, 43);
    await client.shows('43 132\r\n');
    await client.type('bye\n');
    expect(await client.exitCode()).toBe(8);
    expect(client.stdout).toContain('got bye\r\n');
  });

  test('a container that is killed or ends while a client types', async () => {
    const killed = await run(ECHO, { stdin: true });
    const client = await attach(killed, { stdin: true });
    await client.type('one\n');
    await client.shows('got one\n');
    await suite.daemon.runtime.stopContainer({ containerId: killed });
    expect(await client.exitCode()).toBe(137);

    for (let i = 0; i < 5; i++) {
      const id = await run('read line; seq 5000; exit 3', { stdin: true });
      const typing = await attach(id, { stdin: true });
      for (let j = 0; j < 50; j++) await typing.type('more\n').catch(() => {});
      expect(await typing.exitCode()).toBe(3);
      expect(typing.stdout.endsWith('4999\n5000\n')).toBe(true);
    }
  });

  test('clients that come and go leave nothing in the daemon', { timeout: 60_000 }, async () => {
    const id = await run('while :; do echo x; sleep 0.1; done', { stdin: true });
    const descriptors = async () => (await readdir(`/proc/${suite.daemon.pid}/fd`)).length;
    const round = async () => {
      const clients = await Promise.all(
        [true, true, false, false].map((stdin) => attach(id, { stdin })),
      );
      await Promise.all(clients.map((client) => client.shows('x')));
      await Promise.all(clients.map((client) => client.vanish()));
    };
    for (let i = 0; i < 3; i++) await round();
    const before = await descriptors();
    for (let i = 0; i < 25; i++) await round();
    await waitFor('no more descriptors', async () => (await descriptors()) <= before + 2);
  });

  test('20 MB of output are complete', { timeout: 60_000 }, async () => {
    const id = await run('read go; yes | head -c 20000000; exit 2', { stdin: true });
    const client = await attach(id, { stdin: true });
    await client.type('go\n');
    expect(await client.exitCode()).toBe(2);
    expect(client.received).toBe(20_000_000);
  });

  test('what does not fit the container is refused', async () => {
    const { runtime } = suite.daemon;
    const id = await run('sleep 1000000', {});
    const code = (request: object) =>
      codeOf(runtime.attach({ containerId: id, stdout: true, ...request }));
    expect(await code({})).toBe('OK');
    expect(await code({ tty: true })).toBe('INVALID_ARGUMENT');
    expect(await code({ stdin: true })).toBe('INVALID_ARGUMENT');
    expect(await code({ stdout: false })).toBe('INVALID_ARGUMENT');
    await runtime.stopContainer({ containerId: id });
    await ended(suite.daemon, id);
    expect(await code({})).toBe('FAILED_PRECONDITION');
  });
});
