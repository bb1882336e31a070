import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { SILENT } from '../../src/base/index.ts';
import { start } from '../../src/linux/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { ProcessBackend } from './process-backend.ts';

const BUSYBOX = '/bin/busybox';
const backend = new ProcessBackend();
let server: StreamingServer;

beforeAll(async () => {
  server = await StreamingServer.open({
    address: '127.0.0.1',
    port: 0,
    backend,
    logger: SILENT,
    limits: { creation: 500, linger: 1000, drain: 200 },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

/** What came on each channel. */
class Client {
  readonly channels: Record<number, string> = {};
  readonly socket: WebSocket;
  readonly closed: Promise<unknown[]>;
  first: Buffer | undefined;
  readonly #base64: boolean;

  constructor(url: string, protocol: string | undefined) {
    this.socket = new WebSocket(url.replace('http', 'ws'), protocol);
    this.#base64 = protocol?.includes('base64') ?? false;
    this.closed = once(this.socket, 'close');
    this.socket.on('message', (data: Buffer) => {
      this.first ??= data;
      const channel = this.#base64 ? Number(String.fromCharCode(data[0]!)) : data[0]!;
      const text = this.#base64
        ? Buffer.from(data.toString('latin1', 1), 'base64').toString('latin1')
        : data.toString('latin1', 1);
      this.channels[channel] = (this.channels[channel] ?? '') + text;
    });
  }

  async open(): Promise<this> {
    await once(this.socket, 'open');
    return this;
  }

  send(channel: number, content: string | Buffer): void {
    const bytes = Buffer.from(content);
    if (this.#base64) this.socket.send(`${channel}${bytes.toString('base64')}`);
    else this.socket.send(Buffer.concat([Buffer.of(channel), bytes]));
  }
}

function exec(script: string, protocol: string | undefined, options = {}): Promise<Client> {
  const command = [BUSYBOX, 'sh', '-c', script];
  const streams = { tty: false, stdin: true, stdout: true, stderr: true, ...options };
  return new Client(server.execUrl({ containerId: 'c', command, ...streams }), protocol).open();
}

async function sessionsEnd(): Promise<void> {
  await expect.poll(() => server.sessions).toBe(0);
}

test('v5: input, half-close, both outputs and the exit code', async () => {
  const client = await exec('cat; echo to-err >&2; exit 3', 'v5.channel.k8s.io');
  expect(client.socket.protocol).toBe('v5.channel.k8s.io');
  client.send(0, 'line one\n');
  client.send(0, 'line two\n');
  client.send(255, Buffer.of(0));
  const [code] = await client.closed;
  expect(code).toBe(1000);
  expect(client.first).toEqual(Buffer.of(1));
  expect(client.channels[1]).toBe('line one\nline two\n');
  expect(client.channels[2]).toBe('to-err\n');
  expect(JSON.parse(client.channels[3]!)).toMatchObject({
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '3' }] },
  });
  await sessionsEnd();
});

test.each(['v4.channel.k8s.io', 'v4.base64.channel.k8s.io'])('%s', async (protocol) => {
  const client = await exec('read line; echo "got $line"; exit 4', protocol);
  client.send(255, Buffer.of(0)); // Not known before v5.
  client.send(0, 'hi\n');
  await client.closed;
  expect(client.channels[1]).toBe('got hi\n');
  expect(JSON.parse(client.channels[3]!).details.causes[0].message).toBe('4');
});

test.each([undefined, 'channel.k8s.io', 'base64.channel.k8s.io'])(
  'without a version (%s), failures are plain text',
  async (protocol) => {
    const client = await exec('read line; echo "got $line"; exit 4', protocol);
    client.send(0, 'hi\n');
    await client.closed;
    expect(client.channels[1]).toBe('got hi\n');
    expect(client.channels[3]).toBe('command terminated with non-zero exit code: exit code 4');
  },
);

test('a terminal is resized', async () => {
  const script = 'until [ "$(stty size)" = "43 132" ]; do sleep 0.05; done; stty size';
  const options = { tty: true, stderr: false };
  const client = await exec(script, 'v5.channel.k8s.io', options);
  client.send(4, '{"Width":132,"Height":43}');
  await client.closed;
  expect(client.channels[1]).toContain('43 132\r\n');
});

test('messages that name no channel are dropped', async () => {
  const client = await exec('cat', 'v5.channel.k8s.io');
  client.socket.send(Buffer.alloc(0));
  client.send(77, 'x');
  client.send(1, 'x');
  client.send(255, '');
  client.send(255, Buffer.of(99));
  client.send(0, 'y');
  client.send(255, Buffer.of(0));
  await client.closed;
  expect(client.channels[1]).toBe('y');
});

test('stdin that was not asked for is not passed on', async () => {
  const client = await exec('cat; echo done', 'v4.channel.k8s.io', { stdin: false });
  client.send(0, 'x');
  await client.closed;
  expect(client.channels[1]).toBe('done\n');
});

test('when the client leaves, the command is ended', async () => {
  const client = await exec('sleep 1000', 'v4.channel.k8s.io');
  await expect.poll(() => server.sessions).toBe(1);
  client.socket.terminate();
  await sessionsEnd();
  expect(() => process.kill(backend.pids.at(-1)!, 0)).toThrow('ESRCH');
});

test('a message above the limit ends the session', async () => {
  const client = await exec('sleep 1000', 'v4.channel.k8s.io');
  client.send(0, Buffer.alloc(2_000_000));
  const [code] = await client.closed;
  expect(code).toBe(1009);
  await sessionsEnd();
});

test('output of 50 MB is complete, and so is its echo', { timeout: 60_000 }, async () => {
  const client = await exec('head -c 50000000 /dev/zero', 'v5.channel.k8s.io');
  let size = 0;
  client.socket.removeAllListeners('message');
  client.socket.on('message', (data: Buffer) => {
    if (data[0] === 1) size += data.length - 1;
  });
  await client.closed;
  expect(size).toBe(50_000_000);
});

test('several clients are attached to one container', async () => {
  const script = 'while read line; do echo "got $line"; [ $line = bye ] && exit 6; done';
  backend.containers.set('c', start(BUSYBOX, ['sh', '-c', script], { stdio: 'pipe' }));
  const request = { containerId: 'c', tty: false, stdin: true, stdout: true, stderr: true };
  const attach = () => new Client(server.attachUrl(request), 'v5.channel.k8s.io').open();
  const [first, second, third] = await Promise.all([attach(), attach(), attach()]);
  third!.socket.close(1000);
  first!.send(0, 'hello\n');
  await expect.poll(() => second!.channels[1]).toBe('got hello\n');
  second!.send(0, 'bye\n');
  await Promise.all([first!.closed, second!.closed]);
  expect(first!.channels[1]).toBe('got hello\ngot bye\n');
  expect(JSON.parse(second!.channels[3]!).details.causes[0].message).toBe('6');
  await sessionsEnd();
});
