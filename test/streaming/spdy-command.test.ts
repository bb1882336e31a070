import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SILENT } from '../../src/base/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { ProcessBackend } from './process-backend.ts';
import { type ClientStream, SpdyClient } from './spdy-client.ts';

const BUSYBOX = '/bin/busybox';
const backend = new ProcessBackend();
let server: StreamingServer;

beforeAll(async () => {
  server = await StreamingServer.open({
    address: '127.0.0.1',
    port: 0,
    backend,
    logger: SILENT,
    limits: { creation: 3000, linger: 1000, drain: 200 },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

interface ExecOptions {
  tty?: boolean;
  stdin?: boolean;
  stderr?: boolean;
  protocol?: string;
}

async function exec(
  script: string,
  options: ExecOptions = {},
  onSend: (bytes: Buffer) => void = () => {},
) {
  const { tty = false, stdin = false, stderr = !tty, protocol = 'v4.channel.k8s.io' } = options;
  const command = [BUSYBOX, 'sh', '-c', script];
  const request = { containerId: 'c', command, tty, stdin, stdout: true, stderr };
  const client = await SpdyClient.connect(server.execUrl(request), [protocol]);
  client.onSend = onSend;
  const streams: Record<string, ClientStream> = {};
  const types = ['error', ...(stdin ? ['stdin'] : []), 'stdout', ...(stderr ? ['stderr'] : [])];
  for (const type of types) streams[type] = await client.open({ streamtype: type });
  if (tty) streams['resize'] = await client.open({ streamtype: 'resize' });
  return { client, streams };
}

async function sessionsEnd(): Promise<void> {
  await expect.poll(() => server.sessions).toBe(0);
}

test('output, input, half-close and exit code', async () => {
  const { client, streams } = await exec('cat; echo to-err >&2; exit 3', { stdin: true });
  expect(client.head).toContain('HTTP/1.1 101 Switching Protocols\r\n');
  expect(client.head).toContain('X-Stream-Protocol-Version: v4.channel.k8s.io\r\n');
  client.data(streams['stdin']!, 'line one\nline ');
  client.data(streams['stdin']!, 'two\n');
  client.data(streams['stdin']!, '', true);
  await client.untilClosed();
  expect(streams['stdout']!.text).toBe('line one\nline two\n');
  expect(streams['stdout']!.ended).toBe(true);
  expect(streams['stderr']!.text).toBe('to-err\n');
  const status = JSON.parse(streams['error']!.text);
  expect(status).toMatchObject({
    status: 'Failure',
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: '3' }] },
  });
  expect(client.goaway).toEqual({ last: 7, status: 0 });
  await sessionsEnd();
});

test.each(['v3.channel.k8s.io', 'v2.channel.k8s.io', 'channel.k8s.io'])(
  '%s reports in plain text',
  async (protocol) => {
    const good = await exec('echo fine', { protocol });
    await good.client.untilClosed();
    expect(good.streams['error']!.text).toBe('');
    const bad = await exec('exit 7', { protocol });
    await bad.client.untilClosed();
    expect(bad.streams['error']!.text).toBe(
      'command terminated with non-zero exit code: exit code 7',
    );
  },
);

test('the client chooses the protocol: the first of its own that is known', async () => {
  const request = { containerId: 'c', command: ['x'], tty: false, stdin: false };
  const url = server.execUrl({ ...request, stdout: true, stderr: true });
  const client = await SpdyClient.connect(url, ['v9', 'v2.channel.k8s.io, v4.channel.k8s.io']);
  expect(client.head).toContain('X-Stream-Protocol-Version: v2.channel.k8s.io\r\n');
  client.close();
  await sessionsEnd();
});

test('a command that is not there is told as an error', async () => {
  const request = { containerId: 'c', command: ['/no/such'], tty: false, stdin: false };
  const url = server.execUrl({ ...request, stdout: true, stderr: false });
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  const error = await client.open({ streamtype: 'error' });
  await client.open({ streamtype: 'stdout' });
  await client.untilClosed();
  const status = JSON.parse(error.text);
  expect(status).toMatchObject({ status: 'Failure', reason: 'InternalError' });
  expect(status.message).toContain('Internal error occurred: Cannot run "/no/such"');
});

test('a terminal has the size that the client says, and changes it', async () => {
  const script =
    'read x; stty size; until [ "$(stty size)" = "43 132" ]; do sleep 0.05; done; stty size; exit 5';
  const { client, streams } = await exec(script, { tty: true, stdin: true });
  client.data(streams['resize']!, '{"Width":0,"Height":10}{"Width":99,"Hei');
  client.data(streams['resize']!, 'ght":33}\n');
  await new Promise((resolve) => setTimeout(resolve, 50));
  client.data(streams['stdin']!, 'go\n');
  await client.until(() => streams['stdout']!.text.includes('33 99\r\n'));
  client.data(streams['resize']!, '{"Width":132,"Height":43}');
  await client.untilClosed();
  expect(streams['stdout']!.text).toContain('43 132\r\n');
  expect(JSON.parse(streams['error']!.text).details.causes[0].message).toBe('5');
});

test('output is complete to the last byte although stdin is never read', async () => {
  const { client, streams } = await exec('seq 1 100000 | tail -c 500000', { stdin: true });
  client.data(streams['stdin']!, Buffer.alloc(3_000_000));
  await client.untilClosed();
  expect(streams['stdout']!.bytes).toBe(500_000);
  expect(streams['stdout']!.text.endsWith('\n99999\n100000\n')).toBe(true);
  expect(JSON.parse(streams['error']!.text).status).toBe('Success');
});

test('when the client leaves, the command is ended', async () => {
  const { client } = await exec('sleep 1000', { stdin: true });
  await expect.poll(() => server.sessions).toBe(1);
  client.close();
  await sessionsEnd();
  expect(() => process.kill(backend.pids.at(-1)!, 0)).toThrow('ESRCH');
});

test('when the client resets its output, the command is ended', async () => {
  const { client, streams } = await exec('sleep 1000');
  client.reset(streams['stdout']!);
  await sessionsEnd();
  client.close();
});

test('pings are answered, even ones and unknown frames ignored', async () => {
  const { client } = await exec('sleep 1000');
  client.ping(2);
  client.control(4, Buffer.alloc(4));
  client.control(9, Buffer.alloc(8));
  client.control(77, Buffer.alloc(3));
  client.ping(7);
  await client.until(() => client.pings.length > 0);
  expect(client.pings).toEqual([7]);
  client.close();
  await sessionsEnd();
});

test('data for a stream that does not exist is dropped', async () => {
  const { client, streams } = await exec('cat', { stdin: true });
  client.data({ ...streams['stdin']!, id: 99 }, 'lost');
  client.data(streams['stdin']!, 'kept', true);
  await client.untilClosed();
  expect(streams['stdout']!.text).toBe('kept');
});

test('streams that make no sense are refused, bad ids are an error', async () => {
  const { client } = await exec('sleep 1000');
  expect((await client.open({ streamtype: 'stdin' })).reset).toBe(3);
  expect((await client.open({ streamtype: 'stdout' })).reset).toBe(3);
  expect((await client.open({ other: 'x' })).reset).toBe(3);
  const even = { id: 2, text: '', bytes: 0, replied: false, ended: false, reset: undefined };
  client.streams.set(2, even);
  await client.sendSyn(2, { streamtype: 'stdin' });
  await client.until(() => even.reset !== undefined);
  expect(even.reset).toBe(1);
  client.close();
  await sessionsEnd();
});

test('a client that does not open its streams is sent away', async () => {
  const request = { containerId: 'c', command: ['x'], tty: false, stdin: false };
  const url = server.execUrl({ ...request, stdout: true, stderr: true });
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  await client.open({ streamtype: 'error' });
  await client.untilClosed();
  expect(client.goaway?.status).toBe(0);
  await sessionsEnd();
});

test.each([
  ['another version', Buffer.from('8002000100000000', 'hex')],
  ['a control frame of 16 MiB', Buffer.from('8003000100ffffff', 'hex')],
  ['stream 0', Buffer.from('0000000000000001', 'hex')],
  ['a header block that is no zlib stream', Buffer.from('800300080000000800000001ffffffff', 'hex')],
  ['a short RST_STREAM', Buffer.from('800300030000000100', 'hex')],
])('%s ends the session with a protocol error', async (_, bytes) => {
  const { client } = await exec('sleep 1000');
  client.socket.write(bytes);
  await client.untilClosed();
  expect(client.goaway?.status).toBe(1);
  await sessionsEnd();
});

test('a header bomb ends the session', async () => {
  const { client } = await exec('sleep 1000');
  await client.sendSyn(99, { streamtype: 'x'.repeat(10_000_000) });
  await client.untilClosed();
  expect(client.goaway?.status).toBe(1);
  await sessionsEnd();
});

test('a client that makes the server answer and reads nothing is not heard any more', async () => {
  const { client } = await exec('sleep 1000');
  client.socket.pause();
  const pings = Buffer.alloc(12 * 100_000);
  for (let i = 0; i < 100_000; i++) {
    pings.write('8003000600000004', i * 12, 'hex');
    pings.writeUInt32BE(2 * i + 1, i * 12 + 8);
  }
  // Several times what the kernel holds, in both directions.
  const total = 50;
  let taken = 0;
  const send = () => {
    client.socket.write(pings, (error) => {
      if (error) return;
      taken++;
      if (taken < total) send();
    });
  };
  send();
  for (let before = -1; before !== taken; ) {
    before = taken;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  expect(taken).toBeLessThan(total / 2);
  client.close();
  await sessionsEnd();
});

test('clients may vanish at each step', { timeout: 60_000 }, async () => {
  const count = async () => (await readdir('/proc/self/fd')).length;
  const before = await count();
  const request = { containerId: 'c', command: [BUSYBOX, 'cat'], tty: false, stdin: true };
  const head = (url: URL) =>
    `POST ${url.pathname} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n` +
    'X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n';
  // All that a client sends, cut off after each byte or so.
  const { bytes } = await recordClient();
  for (let size = 1; size < bytes.length; size += 3) {
    const url = new URL(server.execUrl({ ...request, stdout: true, stderr: true }));
    const socket = connect(Number(url.port), url.hostname);
    await once(socket, 'connect');
    const whole = Buffer.concat([Buffer.from(head(url)), bytes]);
    socket.on('error', () => {}).resume();
    socket.write(whole.subarray(0, size < 60 ? size * 4 : whole.length - bytes.length + size));
    if (size % 2 === 0) socket.resetAndDestroy();
    else socket.end();
    if (size % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await sessionsEnd();
  await expect.poll(count).toBeLessThanOrEqual(before);
});

/** What a client with all streams sends after its request. */
async function recordClient(): Promise<{ bytes: Buffer }> {
  const parts: Buffer[] = [];
  const { client, streams } = await exec('cat', { stdin: true }, (bytes) => parts.push(bytes));
  client.data(streams['stdin']!, 'some input');
  client.data(streams['stdin']!, '', true);
  await client.untilClosed();
  return { bytes: Buffer.concat(parts) };
}

test('whatever a client sends after its streams, the server goes on', {
  timeout: 60_000,
}, async () => {
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  const control = fc
    .tuple(fc.nat(11), fc.nat(3), fc.nat(9), fc.uint8Array({ maxLength: 20 }))
    .map(([type, flags, id, rest]) => {
      const length = 4 + rest.length;
      return Buffer.from([128, 3, 0, type, flags, 0, 0, length, 0, 0, 0, id, ...rest]);
    });
  const data = fc
    .tuple(fc.nat(9), fc.nat(1), fc.uint8Array({ maxLength: 50 }))
    .map(([id, fin, rest]) => Buffer.from([0, 0, 0, id, fin, 0, 0, rest.length, ...rest]));
  const input = fc.array(fc.oneof(noise, control, data), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(input, async (parts) => {
      const { client } = await exec('cat', { stdin: true });
      for (const part of parts) client.socket.write(part);
      client.socket.end();
      await client.untilClosed();
    }),
    { numRuns: 200 },
  );
  await sessionsEnd();
  const { client, streams } = await exec('echo fine');
  await client.untilClosed();
  expect(streams['stdout']!.text).toBe('fine\n');
});
