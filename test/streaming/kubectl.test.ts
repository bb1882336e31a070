import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SILENT } from '../../src/base/index.ts';
import { exitOf, killGroup, openPty, run, start } from '../../src/linux/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { ApiStub } from './api-stub.ts';
import { findKubectls } from './kubectl.ts';
import { ProcessBackend } from './process-backend.ts';

const BUSYBOX = '/bin/busybox';
const KUBECTLS = findKubectls();

test('there is a kubectl (Debian package kubernetes-client)', () => {
  expect(KUBECTLS).not.toEqual([]);
});

describe.each(KUBECTLS)('%s', (kubectl) => {
  const backend = new ProcessBackend();
  let server: StreamingServer;
  let api: ApiStub;
  let home: string;

  beforeAll(async () => {
    const limits = { drain: 100, linger: 1000 };
    const options = { address: '127.0.0.1', port: 0, backend, logger: SILENT };
    server = await StreamingServer.open({ ...options, limits });
    api = await ApiStub.open(server);
    home = await mkdtemp(join(tmpdir(), 'keelson-kubectl-'));
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  const environment = () => ({ HOME: home, PATH: process.env['PATH'], TERM: 'xterm' });
  const withServer = (args: string[]) => [`--server=${api.url}`, ...args];
  const call = (args: string[], options: { input?: string; outputLimit?: number } = {}) =>
    run(kubectl, withServer(args), {
      env: environment(),
      signal: AbortSignal.timeout(60_000),
      ...options,
    });
  const exec = (args: string[], script: string, options = {}) =>
    call(['exec', ...args, 'web', '--', BUSYBOX, 'sh', '-c', script], options);
  const sessionsEnd = () => expect.poll(() => server.sessions).toBe(0);

  test('exec: output, errors and exit code', async () => {
    const result = await exec([], 'echo out; echo err >&2; exit 3');
    expect(result.stdout.toString()).toBe('out\n');
    expect(result.stderr.toString()).toContain('err\n');
    expect(result.stderr.toString()).toContain('command terminated with exit code 3');
    expect(result.code).toBe(3);
    await sessionsEnd();
  });

  test('exec: a command that is not there', async () => {
    const result = await call(['exec', 'web', '--', '/no/such']);
    expect(result.code).toBe(1);
    expect(result.stderr.toString()).toContain('Internal error occurred: Cannot run "/no/such"');
  });

  test('exec: 100 MB of output are complete', { timeout: 60_000 }, async () => {
    const command = `${kubectl} --server=${api.url} exec web -- ${BUSYBOX} sh -c 'yes | head -c 100000000' | sha256sum`;
    const result = await run('sh', ['-c', command], { env: environment() });
    const expected = createHash('sha256').update('y\n'.repeat(50_000_000)).digest('hex');
    expect(result.stdout.toString()).toBe(`${expected}  -\n`);
    await sessionsEnd();
  });

  test('exec: input of 50 MB is complete, and its end is seen', { timeout: 60_000 }, async () => {
    const command = `yes | head -c 50000000 | ${kubectl} --server=${api.url} exec -i web -- sha256sum`;
    const result = await run('sh', ['-c', command], { env: environment() });
    const expected = createHash('sha256').update('y\n'.repeat(25_000_000)).digest('hex');
    expect(result.stdout.toString()).toBe(`${expected}  -\n`);
    await sessionsEnd();
  });

  test('exec: tar through tar, both ways', { timeout: 60_000 }, async () => {
    const from = await mkdtemp(join(home, 'from-'));
    const to = await mkdtemp(join(home, 'to-'));
    const back = await mkdtemp(join(home, 'back-'));
    await writeFile(join(from, 'file'), Buffer.alloc(5_000_000, 'abc'));
    const remote = `${kubectl} --server=${api.url} exec`;
    const there = `tar -C ${from} -c . | ${remote} -i web -- tar -C ${to} -x`;
    const andBack = `${remote} web -- tar -C ${to} -c . | tar -C ${back} -x`;
    const compare = `cmp ${from}/file ${back}/file && echo same`;
    const script = `${there} && ${andBack} && ${compare}`;
    const result = await run('sh', ['-c', script], { env: environment() });
    expect(result.stdout.toString()).toBe('same\n');
    await sessionsEnd();
  });

  test('exec: a reader that has enough ends the command', { timeout: 60_000 }, async () => {
    const command = `${kubectl} --server=${api.url} exec web -- yes | head -n 1`;
    const result = await run('sh', ['-c', command], { env: environment() });
    expect(result.stdout.toString()).toBe('y\n');
    await sessionsEnd();
  });

  test('exec: a command that ends before it has read its input', { timeout: 60_000 }, async () => {
    const script = 'head -c 10 >/dev/null; echo done';
    const input = 'x'.repeat(10_000_000);
    const result = await exec(['-i'], script, { input });
    expect(result.stdout.toString()).toBe('done\n');
    expect(result.code).toBe(0);
    await sessionsEnd();
  });

  test('exec: killing the client ends the command', async () => {
    const child = start(kubectl, withServer(['exec', 'web', '--', 'sleep', '1000']), {
      env: environment(),
      stdio: 'ignore',
    });
    await expect.poll(() => server.sessions, { timeout: 10_000 }).toBe(1);
    killGroup(child.pid);
    await sessionsEnd();
    expect(() => process.kill(backend.pids.at(-1)!, 0)).toThrow('ESRCH');
  });

  /** Starts kubectl on a terminal of its own. */
  function onTerminal(args: string[], slavePath: string): ChildProcess {
    const script = 'exec 0<>"$0" 1>&0 2>&0; exec "$@"';
    const all = ['sh', '-c', script, slavePath, kubectl, ...withServer(args)];
    return start(BUSYBOX, all, { env: environment(), stdio: 'ignore' });
  }

  test('exec: a terminal, its size and its resizing', { timeout: 60_000 }, async () => {
    const { master, slavePath } = openPty();
    using terminal = master;
    terminal.resize({ width: 99, height: 33 });
    let shown = '';
    terminal.stream.on('data', (chunk) => {
      shown += chunk;
    });
    terminal.stream.on('error', () => {});
    const script =
      'until [ "$(stty size)" = "33 99" ]; do sleep 0.1; done; echo ready; read x; ' +
      'until [ "$(stty size)" = "43 132" ]; do sleep 0.1; done; echo "bigger $x"; exit 9';
    const args = ['exec', '-it', 'web', '--', BUSYBOX, 'sh', '-c', script];
    const child = onTerminal(args, slavePath);
    const ended = exitOf(child, kubectl);
    await expect.poll(() => shown, { timeout: 10_000 }).toContain('ready\r\n');
    terminal.stream.write('now\r');
    terminal.resize({ width: 132, height: 43 });
    expect((await ended).code).toBe(9);
    expect(shown).toContain('bigger now\r\n');
    await sessionsEnd();
  });

  test('attach: input and output of a running container', { timeout: 60_000 }, async () => {
    const script = 'while read line; do echo "got $line"; [ $line = bye ] && exit 0; done';
    backend.containers.set('web', start(BUSYBOX, ['sh', '-c', script], { stdio: 'pipe' }));
    const client = start(kubectl, withServer(['attach', '-i', 'web']), {
      env: environment(),
      stdio: 'pipe',
    });
    let output = '';
    client.stdout!.on('data', (chunk) => {
      output += chunk;
    });
    client.stdin!.write('hello\n');
    await expect.poll(() => output, { timeout: 10_000 }).toContain('got hello\n');
    client.stdin!.write('bye\n');
    const { code } = await exitOf(client, kubectl);
    expect(code).toBe(0);
    expect(output).toContain('got hello\ngot bye\n');
    await sessionsEnd();
  });

  test('port-forward: many requests at once, and a port without a listener', {
    timeout: 60_000,
  }, async () => {
    const web = createServer((request, response) => response.end(`you asked for ${request.url}`));
    web.listen(0, '127.0.0.1');
    await once(web, 'listening');
    const { port } = web.address() as AddressInfo;
    const args = withServer(['port-forward', 'pod/web', `:${port}`, ':1']);
    const client = start(kubectl, args, { env: environment(), stdio: 'pipe' });
    try {
      let output = '';
      client.stdout!.on('data', (chunk) => {
        output += chunk;
      });
      const local = (remote: number) =>
        new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${remote}\\n`).exec(output)?.[1];
      await expect.poll(() => local(1), { timeout: 10_000 }).toBeDefined();
      const get = async (path: string) =>
        (
          await fetch(`http://127.0.0.1:${local(port)}${path}`, {
            headers: { connection: 'close' },
          })
        ).text();
      const paths = Array.from({ length: 30 }, (_, i) => `/${i}`);
      expect(await Promise.all(paths.map(get))).toEqual(
        paths.map((path) => `you asked for ${path}`),
      );
      let errors = '';
      client.stderr!.on('data', (chunk) => {
        errors += chunk;
      });
      await fetch(`http://127.0.0.1:${local(1)}/`).catch(() => {});
      await expect.poll(() => errors, { timeout: 10_000 }).toContain('Cannot connect to port 1');
    } finally {
      killGroup(client.pid);
      web.closeAllConnections();
      web.close();
    }
    await sessionsEnd();
  });

  test('no descriptor is left', async () => {
    const count = async () => (await readdir('/proc/self/fd')).length;
    await exec([], 'true');
    await sessionsEnd();
    const before = await count();
    for (let i = 0; i < 5; i++) await exec(['-i'], 'cat', { input: 'x' });
    await sessionsEnd();
    await expect.poll(count).toBeLessThanOrEqual(before);
  });
});
