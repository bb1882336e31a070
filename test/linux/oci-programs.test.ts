import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  ConsoleSocket,
  connectSeqpacket,
  exitOf,
  killGroup,
  run,
  start,
} from '../../src/linux/index.ts';

const HIDE = { hideHybridCgroups: true } as const;
let directory: string;
let crun: string[];

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'keelson-oci-'));
  crun = [`--root=${join(directory, 'crun')}`];
});
afterAll(() => rm(directory, { recursive: true }));

/** A bundle whose container runs a script in busybox. */
async function bundle(name: string, script: string, terminal: boolean): Promise<string> {
  const path = join(directory, name);
  await mkdir(join(path, 'rootfs/bin'), { recursive: true });
  for (const place of ['proc', 'dev']) await mkdir(join(path, 'rootfs', place));
  await copyFile('/bin/busybox', join(path, 'rootfs/bin/sh'));
  await chmod(join(path, 'rootfs/bin/sh'), 0o755);
  const config = {
    ociVersion: '1.0.2',
    process: {
      terminal,
      user: { uid: 0, gid: 0 },
      args: ['/bin/sh', '-c', script],
      env: ['PATH=/bin'],
      cwd: '/',
    },
    root: { path: 'rootfs' },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['mode=755'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['newinstance', 'ptmxmode=0666'],
      },
    ],
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }] },
  };
  await writeFile(join(path, 'config.json'), JSON.stringify(config));
  return path;
}

const remove = (id: string) => run('crun', [...crun, 'delete', '--force', id], HIDE);

test('crun hands over the terminal of a container', async () => {
  const path = await bundle('console', 'read line; echo "got $line"', true);
  await using console = await ConsoleSocket.listen(join(path, 'console'));
  const args = [...crun, 'run', '--bundle', path, '--console-socket', console.path, 'console'];
  const child = start('crun', args, { stdio: 'ignore', ...HIDE });
  try {
    const ended = exitOf(child, 'crun');
    using pty = await console.receive(AbortSignal.timeout(10_000));
    pty.stream.write('hello\n');
    let output = '';
    for await (const chunk of pty.stream) output += chunk;
    expect(output).toContain('got hello\r\n');
    expect((await ended).code).toBe(0);
  } finally {
    killGroup(child.pid);
    await remove('console');
  }
});

const SCRIPT = 'while read line; do echo "got $line"; echo err >&2; done; echo ended; read x';

/** Starts a container under conmon and answers the path of its attach socket. */
async function startUnderConmon(path: string, id: string): Promise<string> {
  // conmon makes a link with the container's name there.
  const sockets = await mkdtemp(join(directory, 'sockets-'));
  const args = [
    ...['-b', path, '-c', id, '-u', id, '-n', id, '-r', '/usr/bin/crun', '-i'],
    ...crun.flatMap((arg) => ['--runtime-arg', arg]),
    ...['-l', `k8s-file:${join(path, 'log')}`, '--exit-dir', path, '--socket-dir-path', sockets],
    ...['-p', join(path, 'pidfile'), '-P', join(path, 'conmon-pidfile')],
  ];
  const created = await run('conmon', args, { ...HIDE, signal: AbortSignal.timeout(10_000) });
  expect(created.code).toBe(0);
  await expect.poll(() => readFile(join(path, 'pidfile'), 'utf8').catch(() => '')).not.toBe('');
  expect((await run('crun', [...crun, 'start', id], HIDE)).code).toBe(0);
  return join(path, 'attach');
}

class Attached {
  readonly stream: Duplex;
  text = { 2: '', 3: '' } as Record<number, string>;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('data', (packet: Buffer) => {
      this.text[packet[0]!] += packet.toString('utf8', 1);
    });
  }
}

test('conmon: several clients attached, each packet with its stream, half-close', async () => {
  const id = 'keelson-attach-test';
  const path = await bundle(id, SCRIPT, false);
  try {
    const socket = await startUnderConmon(path, id);
    const connect = async () =>
      new Attached(await connectSeqpacket(socket, AbortSignal.timeout(10_000)));
    const [first, second] = await Promise.all([connect(), connect()]);
    // What comes before conmon has accepted a client is not sent to it.
    await expect
      .poll(() => {
        first.stream.write('hello\n');
        return second.text[2];
      })
      .toContain('got hello\n');
    expect(first.text[2]).toContain('got hello\n');
    await expect.poll(() => first.text[3]).toContain('err\n');
    const big = 'x'.repeat(100_000);
    second.stream.write(`${big}\n`);
    await expect.poll(() => first.text[2]).toContain(`got ${big}\n`);
    const closed = once(second.stream, 'end');
    first.stream.end();
    await closed;
    expect(second.text[2]).toContain('ended\n');
  } finally {
    await remove(id);
    const pid = Number(await readFile(join(path, 'conmon-pidfile'), 'utf8').catch(() => '0'));
    await expect.poll(() => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).toBe('');
  }
});
