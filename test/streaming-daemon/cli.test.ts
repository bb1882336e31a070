import { closeSync, constants, existsSync, openSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exitOf, killGroup, openPty, type Pty, start } from '../../src/linux/index.ts';
import { Kept, keelson } from '../cli/fake-cri.ts';
import { criSuite, execIn, shell } from '../cri/suite.ts';
import { busyboxImage } from '../fixtures/image.ts';
import { tar } from '../fixtures/tar.ts';
import { containerConfig, type Pod, runContainer, runPod, waitFor } from '../harness/index.ts';
import { type Listener, startListener } from '../streaming/listener.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;
const BUSYBOX = '/bin/busybox';
const suite = criSuite();
let pod: Pod;
let id: string;
let directory: string;

beforeAll(async () => {
  const image = await suite.add(
    'with-tar',
    busyboxImage({
      files: [
        { path: 'bin/tar', type: 'symlink', target: 'busybox', mode: 0o777 },
        { path: 'opt/evil.tar', content: tar([{ path: 'x/../../outside', content: 'evil' }]) },
      ],
    }),
  );
  pod = await runPod(suite.daemon);
  id = await runContainer(suite.daemon, pod, containerConfig(image));
  directory = await mkdtemp(join(tmpdir(), 'keelson-cp-test-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const run = (args: string[], options: Parameters<typeof keelson>[1] = {}) =>
  keelson(['-r', suite.daemon.uri, ...args], options);
const inside = (script: string) => execIn(suite.daemon, id, script);

/** The real program on a terminal of its own. */
function onTerminal(args: string[]): {
  pty: Pty;
  ended: Promise<{ code: number | undefined }>;
  shown: () => string;
  pid: number;
  flags: () => Promise<string>;
} & Disposable {
  const { master, slavePath } = openPty();
  master.resize({ width: 99, height: 33 });
  const slave = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY);
  const all = [process.execPath, '--disable-warning=ExperimentalWarning', MAIN];
  // A session leader that opens a terminal gets it as its controlling terminal.
  const script = 'exec 0<>"$0" 1>&0 2>&0; exec "$@"';
  const command = ['sh', '-c', script, slavePath, ...all, '-r', suite.daemon.uri, ...args];
  const child = start(BUSYBOX, command, { stdio: 'ignore' });
  let text = '';
  master.stream.on('data', (chunk) => {
    text += chunk;
  });
  master.stream.on('error', () => {});
  const flags = async () => {
    const stty = start(BUSYBOX, ['stty', '-a'], { stdio: [slave, 'pipe', 'ignore'] });
    return text_(stty.stdout!);
  };
  return {
    pty: master,
    ended: exitOf(child, 'keelson'),
    shown: () => text,
    pid: child.pid!,
    flags,
    [Symbol.dispose]: () => {
      killGroup(child.pid);
      closeSync(slave);
      master[Symbol.dispose]();
    },
  };
}
const text_ = (stream: NodeJS.ReadableStream) => text(stream);

describe('exec', () => {
  test('output, errors and exit code', async () => {
    const result = await run(['exec', id, 'sh', '-c', 'echo out; echo err >&2; exit 3']);
    expect(result).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\n' });
    expect((await run(['exec', id, '--', '/no/such'])).code).toBe(127);
  });

  test('input only with -i', async () => {
    expect((await run(['exec', '-i', id, 'cat'], { input: 'text' })).stdout).toBe('text');
    expect((await run(['exec', id, 'cat'], { input: 'text' })).stdout).toBe('');
  });

  test('10 MB through a command', { timeout: 60_000 }, async () => {
    const input = 'x'.repeat(10_000_000);
    const { stdout, code } = await run(['exec', '-i', id, 'wc', '-c'], { input });
    expect({ stdout, code }).toEqual({ stdout: '10000000\n', code: 0 });
    const big = await run(['exec', id, 'sh', '-c', 'yes | head -c 10000000']);
    expect(big.stdout.length).toBe(10_000_000);
  });

  test('what cannot be done ends with 125', async () => {
    expect(await run(['exec', 'absent', 'true'])).toMatchObject({ code: 125 });
    const noTerminal = await run(['exec', '-it', id, 'true']);
    expect(noTerminal.code).toBe(125);
    expect(noTerminal.stderr).toContain('needs a terminal');
    expect((await run(['exec', '-i', '--sync', id, 'true'])).code).toBe(125);
  });

  test('an interrupt ends the command', async () => {
    const abort = new AbortController();
    const stdout = new Kept();
    const running = run(['exec', id, 'sh', '-c', 'echo here; exec sleep 81001'], {
      stdout,
      signal: abort.signal,
    });
    await waitFor('the command', () => stdout.text.includes('here'));
    abort.abort();
    expect((await running).code).toBe(130);
    await waitFor(
      'its end',
      async () => (await inside('ps | grep "[s]leep 81001" || echo')) === '',
    );
  });

  test('a terminal: raw, resized, given back with the exit code', async () => {
    const script =
      'until [ "$(stty size)" = "33 99" ]; do sleep 0.1; done; stty size; read x; trap "stty size" WINCH; echo "got $x"; ' +
      'until [ "$(stty size)" = "43 132" ]; do sleep 0.1; done; echo bigger; exit 9';
    using terminal = onTerminal(['exec', '-it', id, 'sh', '-c', script]);
    await waitFor('the size', () => terminal.shown().includes('33 99'));
    expect(await terminal.flags()).toMatch(/-icanon/);
    terminal.pty.stream.write('word\r');
    await waitFor('the answer', () => terminal.shown().includes('got word'));
    terminal.pty.resize({ width: 132, height: 43 });
    await waitFor('the new size', () => terminal.shown().includes('bigger'));
    expect((await terminal.ended).code).toBe(9);
    expect(await terminal.flags()).toMatch(/ icanon/);
  });

  test('a terminal is given back after a signal, and when the daemon breaks off', async () => {
    for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
      using terminal = onTerminal(['exec', '-it', id, 'sh', '-c', 'echo here; sleep 82001']);
      await waitFor('the command', () => terminal.shown().includes('here'));
      process.kill(terminal.pid, signal);
      expect((await terminal.ended).code).toBe(signal === 'SIGTERM' ? 130 : 129);
      expect(await terminal.flags()).toMatch(/ icanon/);
    }
  });
});

describe('attach', () => {
  test('input, output and exit code of the container', async () => {
    const config = containerConfig(suite.image, {
      ...shell('while read x; do echo "got $x"; [ $x = bye ] && exit 6; done'),
      stdin: true,
    });
    const container = await runContainer(suite.daemon, pod, config);
    const stdin = new PassThrough();
    const stdout = new Kept();
    const attached = run(['attach', '-i', container], { stdin, stdout });
    stdin.write('one\n');
    await waitFor('the answer', () => stdout.text.includes('got one'));
    stdin.write('bye\n');
    expect((await attached).code).toBe(6);
    expect(stdout.text).toBe('got one\ngot bye\n');
    expect((await run(['attach', container])).stderr).toContain('not running');
  });

  test('detaching from a terminal leaves the container running', async () => {
    const config = containerConfig(suite.image, {
      ...shell('while :; do read x && echo "got $x"; done'),
      stdin: true,
      tty: true,
    });
    const container = await runContainer(suite.daemon, pod, config);
    using terminal = onTerminal(['attach', '-it', container]);
    await waitFor('raw keys', async () => /-icanon/.test(await terminal.flags()));
    terminal.pty.stream.write('one\r');
    await waitFor('the answer', () => terminal.shown().includes('got one'));
    terminal.pty.stream.write('\x10\x11');
    expect((await terminal.ended).code).toBe(0);
    expect(await terminal.flags()).toMatch(/ icanon/);
    const { status } = await suite.daemon.runtime.containerStatus({ containerId: container });
    expect(status?.state).toBe(1);
    expect((await run(['attach', container])).stderr).toContain('has a terminal');
  });
});

describe('port-forward', () => {
  let listener: Listener;
  let port: number;

  beforeAll(async () => {
    listener = await startListener({ path: `/run/netns/keelson-${pod.id.slice(0, 16)}` });
    port = listener.port;
  });
  afterAll(() => listener[Symbol.dispose]());

  test('many connections with half-close, and a port without a listener', async () => {
    const abort = new AbortController();
    const [stdout, stderr] = [new Kept(), new Kept()];
    const args = ['port-forward', pod.id, `:${port}`, ':9'];
    const running = run(args, { stdout, stderr, signal: abort.signal });
    const local = (remote: number) =>
      Number(new RegExp(`127\\.0\\.0\\.1:(\\d+) -> ${remote}\\n`).exec(stdout.text)?.[1] ?? 0);
    await waitFor('the ports', () => local(9) > 0);
    const ask = async (word: string) => {
      const socket = connect({ port: local(port), host: '127.0.0.1', allowHalfOpen: true });
      socket.end(word);
      return text(socket);
    };
    const words = Array.from({ length: 30 }, (_, i) => `word-${i}`);
    expect(await Promise.all(words.map(ask))).toEqual(words);
    const large = 'abc'.repeat(1_000_000);
    expect((await ask(large)).length).toBe(large.length);
    expect(await text(connect(local(9), '127.0.0.1'))).toBe('');
    await waitFor('the reason', () => stderr.text.includes('port 9'));
    expect(await ask('still')).toBe('still');
    abort.abort();
    expect((await running).code).toBe(0);
    await expect(ask('gone')).rejects.toThrow('ECONNREFUSED');
  });

  test('ports that make no sense, pods that are not there', async () => {
    expect((await run(['port-forward', pod.id, '0'])).code).toBe(2);
    expect((await run(['port-forward', pod.id, '1:2:3'])).code).toBe(2);
    expect((await run(['port-forward', 'absent', '80'])).code).toBe(3);
  });
});

describe('cp', () => {
  const path = (name: string) => join(directory, name);

  test('files both ways, under a new name or into a directory', async () => {
    const content = Buffer.alloc(3_000_000, 'abcdefg');
    await writeFile(path('file'), content);
    await chmod(path('file'), 0o750);
    expect(await run(['cp', path('file'), `${id}:/tmp/renamed`])).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect(await run(['cp', path('file'), `${id}:/tmp`])).toMatchObject({ code: 0 });
    expect(await inside('cmp /tmp/file /tmp/renamed && stat -c %a /tmp/file')).toBe('750');
    expect(await run(['cp', `${id}:/tmp/renamed`, path('back')])).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect((await readFile(path('back'))).equals(content)).toBe(true);
    expect((await lstat(path('back'))).mode & 0o777).toBe(0o750);
    expect(await run(['cp', `${id}:/tmp/renamed`, directory])).toMatchObject({ code: 0 });
    expect((await readFile(path('renamed'))).equals(content)).toBe(true);
    await writeFile(path('empty'), '');
    expect((await run(['cp', path('empty'), `${id}:/tmp/`])).code).toBe(0);
    expect(await inside('wc -c < /tmp/empty')).toBe('0');
  });

  test('directories with links, both ways', async () => {
    await mkdir(path('tree/deep'), { recursive: true });
    await writeFile(path('tree/deep/file'), 'deep');
    await symlink('deep/file', path('tree/link'));
    await symlink('/etc/passwd', path('tree/out'));
    expect(await run(['cp', path('tree'), `${id}:/tmp`])).toMatchObject({ code: 0, stderr: '' });
    expect(await inside('cat /tmp/tree/link; readlink /tmp/tree/out')).toBe('deep/etc/passwd');
    expect(await run(['cp', `${id}:/tmp/tree`, path('copy')])).toMatchObject({
      code: 0,
      stderr: '',
    });
    expect(await readFile(path('copy/link'), 'utf8')).toBe('deep');
    expect(await readlink(path('copy/out'))).toBe('/etc/passwd');
    await inside('echo more > /tmp/tree/deep/more');
    await mkdir(path('into'));
    await run(['cp', `${id}:/tmp/tree`, path('into')]);
    expect(await run(['cp', `${id}:/tmp/tree`, path('into')])).toMatchObject({ code: 0 });
    expect((await readdir(path('into/tree/deep'))).sort()).toEqual(['file', 'more']);
    expect((await readdir(directory)).filter((name) => name.startsWith('.keelson'))).toEqual([]);
  });

  test('a container cannot write elsewhere', async () => {
    const victim = path('victim');
    await mkdir(victim);
    await mkdir(path('target/tree'), { recursive: true });
    await symlink(victim, path('target/tree/sub'));
    await inside('mkdir -p /tmp/bad/tree/sub; echo evil > /tmp/bad/tree/sub/file');
    const refused = await run(['cp', `${id}:/tmp/bad/tree`, path('target')]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('it is a link');
    expect(await readdir(victim)).toEqual([]);
    // A tar of the container's own making.
    await inside(
      'mv /bin/tar /bin/tar.good; printf "#!/bin/sh\\ncat /opt/evil.tar\\n" > /bin/tar; chmod 755 /bin/tar',
    );
    const outside = await run(['cp', `${id}:/opt/x`, path('target')]);
    await inside('mv /bin/tar.good /bin/tar');
    expect(outside.code).toBe(1);
    expect(outside.stderr).toContain('leads out');
    expect(existsSync(path('outside'))).toBe(false);
  });

  test('what is not there, and what makes no sense', async () => {
    const absent = await run(['cp', `${id}:/no/such`, directory]);
    expect(absent.code).toBe(1);
    expect(absent.stderr).toContain('such');
    expect((await run(['cp', path('no-such'), `${id}:/tmp`])).code).toBe(1);
    expect((await run(['cp', 'a', 'b'])).code).toBe(2);
    expect((await run(['cp', `${id}:relative`, 'b'])).code).toBe(2);
    const noTar = await runContainer(suite.daemon, pod, containerConfig(suite.image));
    const refused = await run(['cp', `${noTar}:/etc`, directory]);
    expect(refused.stderr).toContain('needs a tar');
  });
});
