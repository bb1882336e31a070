import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { ConsoleSocket } from './console-socket.ts';
import { openPty } from './pty.ts';
import { exitOf, killGroup, start } from './start.ts';

const BUSYBOX = '/bin/busybox';

/** Starts a shell whose controlling terminal is the pty. */
function shell(slavePath: string, script: string) {
  const slave = openSync(slavePath, 'r+');
  try {
    return start(BUSYBOX, ['setsid', '-c', BUSYBOX, 'sh', '-c', script], {
      stdio: [slave, slave, slave],
    });
  } finally {
    closeSync(slave);
  }
}

test('a program on a pty reads what is typed, sees the size, and its end ends the stream', async () => {
  const { master, slavePath } = openPty();
  using pty = master;
  pty.resize({ width: 99, height: 33 });
  expect(pty.size()).toEqual({ width: 99, height: 33 });
  const ended = exitOf(shell(slavePath, 'stty size; read line; echo "got $line"'), BUSYBOX);
  pty.stream.write('hello\n');
  const output = await text(pty.stream);
  expect(output).toContain('33 99\r\n');
  expect(output).toContain('got hello\r\n');
  await ended;
});

test('a resize reaches the program as SIGWINCH', async () => {
  const { master, slavePath } = openPty();
  using pty = master;
  pty.resize({ width: 80, height: 24 });
  shell(slavePath, 'trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done');
  pty.stream.once('data', () => pty.resize({ width: 132, height: 43 }));
  expect(await text(pty.stream)).toContain('43 132\r\n');
});

test('closing the master hangs the programs up', async () => {
  const { master, slavePath } = openPty();
  const child = shell(slavePath, 'echo ready; exec sleep 1000');
  try {
    await once(master.stream, 'data');
    master[Symbol.dispose]();
    expect(master.size()).toBeUndefined();
    master.resize({ width: 1, height: 1 });
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    expect(child.signalCode ?? child.exitCode).not.toBeNull();
  } finally {
    killGroup(child.pid);
  }
});

test('typing into a program that does not read neither blocks nor loses the loop', async () => {
  const { master, slavePath } = openPty();
  const child = shell(slavePath, 'stty raw -echo; echo ready; exec sleep 1000');
  try {
    await once(master.stream, 'data');
    const written = master.stream.write(Buffer.alloc(1 << 20, 'x'));
    expect(written).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(master.stream.writableLength).toBe(1 << 20);
  } finally {
    master[Symbol.dispose]();
    killGroup(child.pid);
  }
});

test('what is not read is not taken from the program', async () => {
  const { master, slavePath } = openPty();
  const child = shell(slavePath, 'exec yes');
  try {
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(master.stream.readableLength).toBeLessThan(256 * 1024);
    let size = 0;
    for await (const chunk of master.stream) {
      size += (chunk as Buffer).length;
      if (size > 1 << 20) break;
    }
  } finally {
    master[Symbol.dispose]();
    killGroup(child.pid);
  }
});

const SENDER = `
import array, os, socket, sys
master, slave = os.openpty()
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendmsg([b"/dev/ptmx"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [master]))])
os.close(master)
os.write(slave, b"from the other side")
os.close(slave)
`;

test('a console socket receives a pty master', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-console-'));
  try {
    await using console = await ConsoleSocket.listen(join(directory, 'c'));
    const sender = start('python3', ['-c', SENDER, console.path], { stdio: 'inherit' });
    const ended = exitOf(sender, 'python3');
    using pty = await console.receive(AbortSignal.timeout(10_000));
    expect(await text(pty.stream)).toBe('from the other side');
    expect(await ended).toMatchObject({ code: 0 });
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a console socket gives up when told, and when the sender sends nothing', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-console-'));
  try {
    await using console = await ConsoleSocket.listen(join(directory, 'c'));
    const abort = new AbortController();
    const received = console.receive(abort.signal);
    abort.abort(new Error('the runtime failed'));
    await expect(received).rejects.toThrow('the runtime failed');
    const script = 'import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])';
    start('python3', ['-c', script, console.path], { stdio: 'inherit' });
    await expect(console.receive(AbortSignal.timeout(10_000))).rejects.toThrow('closed');
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('no descriptor is left', async () => {
  const count = async () => (await readdir('/proc/self/fd')).length;
  const before = await count();
  for (let i = 0; i < 50; i++) {
    const { master } = openPty();
    master[Symbol.dispose]();
  }
  await new Promise((resolve) => setImmediate(resolve));
  expect(await count()).toBe(before);
});
