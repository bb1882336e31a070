import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { SILENT } from '../../src/base/index.ts';
import { run } from '../../src/linux/index.ts';
import { StreamingServer, type StreamingServerOptions } from '../../src/streaming/index.ts';
import { ProcessBackend } from './process-backend.ts';
import { SpdyClient } from './spdy-client.ts';

const exec = {
  containerId: 'c',
  command: ['/bin/busybox', 'sleep', '1000'],
  tty: false,
  stdin: false,
  stdout: true,
  stderr: false,
};

function open(options: Partial<StreamingServerOptions> = {}): Promise<StreamingServer> {
  const { limits, ...rest } = options;
  return StreamingServer.open({
    address: '127.0.0.1',
    port: 0,
    backend: new ProcessBackend(),
    logger: SILENT,
    ...rest,
    limits: { drain: 100, linger: 1000, ...limits },
  });
}

const UPGRADE = {
  Connection: 'Upgrade',
  Upgrade: 'SPDY/3.1',
  'X-Stream-Protocol-Version': 'v4.channel.k8s.io',
};

/** Sends a request and answers the response, or undefined for a switch of protocols. */
async function ask(
  url: string,
  headers: Record<string, string | string[]>,
  options: { method?: string; body?: string } = {},
): Promise<{ status: number; body: string; headers: IncomingMessage['headersDistinct'] }> {
  const request = httpRequest(url, { method: options.method ?? 'POST', headers, agent: false });
  request.on('error', () => {});
  request.end(options.body);
  const [response] = (await Promise.race([
    once(request, 'response'),
    once(request, 'upgrade').then(([upgraded, socket]) => {
      socket.destroy();
      return [upgraded];
    }),
  ])) as [IncomingMessage];
  const status = response.statusCode ?? 0;
  const body = status === 101 ? '' : await text(response);
  return { status, body, headers: response.headersDistinct };
}

test('a URL works once, for its own kind only', async () => {
  await using server = await open();
  const url = server.execUrl(exec);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/exec\/[A-Za-z0-9_-]{22}$/);
  expect((await ask(url.replace('/exec/', '/attach/'), UPGRADE)).status).toBe(404);
  expect((await ask(url, UPGRADE)).status).toBe(101);
  expect((await ask(url, UPGRADE)).status).toBe(404);
});

test.each(['/', '/exec/', '/exec/AAAAAAAAAAAAAAAAAAAAAA', '/exec/../x', '/nothing/x'])(
  '%s is not there',
  async (path) => {
    await using server = await open();
    expect((await ask(server.url + path, UPGRADE)).status).toBe(404);
    expect((await ask(server.url + path, {}, { method: 'GET' })).status).toBe(404);
  },
);

test('an expired URL is not there', async () => {
  await using server = await open({ limits: { tokenLifetime: 20 } });
  const url = server.execUrl(exec);
  await new Promise((resolve) => setTimeout(resolve, 40));
  expect((await ask(url, UPGRADE)).status).toBe(404);
});

test('too many unused URLs are refused', async () => {
  await using server = await open({ limits: { tokens: 2 } });
  server.execUrl(exec);
  server.attachUrl(exec);
  expect(() => server.portForwardUrl({ sandboxId: 's', ports: [] })).toThrow(
    expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
  );
});

test('a client that is refused may try again with another protocol', async () => {
  await using server = await open();
  const url = server.execUrl(exec);
  const wrong = await ask(url, { ...UPGRADE, 'X-Stream-Protocol-Version': ['v8', 'v9'] });
  expect(wrong.status).toBe(403);
  expect(wrong.headers['x-accepted-stream-protocol-versions']).toEqual([
    'v4.channel.k8s.io',
    'v3.channel.k8s.io',
    'v2.channel.k8s.io',
    'channel.k8s.io',
  ]);
  const { 'X-Stream-Protocol-Version': _, ...none } = UPGRADE;
  expect((await ask(url, none)).status).toBe(400);
  expect((await ask(url, {})).status).toBe(400);
  expect((await ask(url, { ...UPGRADE, Upgrade: 'h2c' })).status).toBe(400);
  expect((await ask(url, UPGRADE, { method: 'PUT' })).status).toBe(405);
  expect((await ask(url, { ...UPGRADE, 'Content-Length': '3' }, { body: 'abc' })).status).toBe(400);
  const web = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Protocol': 'v9' };
  expect((await ask(url, web, { method: 'GET' })).status).toBe(403);
  expect((await ask(url, web)).status).toBe(405);
  expect((await ask(url, UPGRADE)).status).toBe(101);
});

test.each([
  ['an empty container id', { ...exec, containerId: '' }],
  ['no command', { ...exec, command: [] }],
  ['no stream', { ...exec, stdout: false }],
  ['a terminal with stderr', { ...exec, tty: true, stderr: true }],
])('%s is an invalid argument', async (_, request) => {
  await using server = await open();
  const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
  expect(() => server.execUrl(request)).toThrow(invalid);
  expect(() => server.portForwardUrl({ sandboxId: '', ports: [] })).toThrow(invalid);
  expect(() => server.portForwardUrl({ sandboxId: 's', ports: [70000] })).toThrow(invalid);
});

test('an address that is taken is an error', async () => {
  await using server = await open();
  const port = Number(new URL(server.url).port);
  await expect(open({ port })).rejects.toThrow(`Cannot serve streaming on 127.0.0.1 port ${port}`);
});

test('URLs name the advertised host, and loopback for a wildcard', async () => {
  await using advertised = await open({ advertisedHost: 'fd00::1' });
  expect(advertised.url).toMatch(/^http:\/\/\[fd00::1\]:\d+$/);
  await using wildcard = await open({ address: '::' });
  expect(wildcard.url).toMatch(/^http:\/\/\[::1\]:\d+$/);
});

test('head and frames in one packet are both understood', async () => {
  await using server = await open();
  const url = new URL(server.execUrl(exec));
  const socket = connect(Number(url.port), url.hostname);
  const head = `POST ${url.pathname} HTTP/1.1\r\nHost: x\r\n`;
  const upgrade = Object.entries(UPGRADE).map(([name, value]) => `${name}: ${value}\r\n`);
  const ping = Buffer.from('800300060000000400000001', 'hex');
  socket.write(Buffer.concat([Buffer.from(`${head}${upgrade.join('')}\r\n`), ping]));
  let answer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    answer = Buffer.concat([answer, chunk]);
  });
  await expect.poll(() => answer.includes(ping)).toBe(true);
  socket.destroy();
  await expect.poll(() => server.sessions).toBe(0);
});

test('a session without traffic ends, and its client learns why', async () => {
  await using server = await open({ limits: { idle: 200 } });
  const client = await SpdyClient.connect(server.execUrl(exec), ['v4.channel.k8s.io']);
  const error = await client.open({ streamtype: 'error' });
  await client.open({ streamtype: 'stdout' });
  await client.untilClosed();
  expect(JSON.parse(error.text).message).toContain('nothing was sent or received');
  await expect.poll(() => server.sessions).toBe(0);
});

test('closing lets a session end that is about to', async () => {
  const server = await open({ limits: { drain: 5000 } });
  const command = ['/bin/busybox', 'sh', '-c', 'sleep 0.3; echo late'];
  const url = server.execUrl({ ...exec, command });
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  await client.open({ streamtype: 'error' });
  const stdout = await client.open({ streamtype: 'stdout' });
  const closed = server[Symbol.asyncDispose]();
  await client.untilClosed();
  expect(stdout.text).toBe('late\n');
  await closed;
});

test('closing ends what goes on, says so, and leaves nothing', async () => {
  const backend = new ProcessBackend();
  const server = await open({ backend });
  const client = await SpdyClient.connect(server.execUrl(exec), ['v4.channel.k8s.io']);
  const error = await client.open({ streamtype: 'error' });
  await client.open({ streamtype: 'stdout' });
  const web = new WebSocket(server.execUrl(exec).replace('http', 'ws'), 'v5.channel.k8s.io');
  const messages: string[] = [];
  web.on('message', (data: Buffer) => messages.push(data.toString('latin1')));
  await once(web, 'open');
  await expect.poll(() => backend.pids.length).toBe(2);
  const idle = connect(Number(new URL(server.url).port), '127.0.0.1');
  await once(idle, 'connect');
  const idleClosed = once(idle, 'close');
  await Promise.all([server[Symbol.asyncDispose](), client.untilClosed(), once(web, 'close')]);
  expect(JSON.parse(error.text)).toMatchObject({ status: 'Failure', code: 503 });
  expect(error.text).toContain('shutting down');
  expect(messages.at(-1)).toContain('shutting down');
  await idleClosed;
  for (const pid of backend.pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect(() => server.execUrl(exec)).toThrow(expect.objectContaining({ code: 'UNAVAILABLE' }));
});

test('a client that sends its request too slowly is cut off', async () => {
  await using server = await open({ limits: { request: 200 } });
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  socket.write('POST /exec/AAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n');
  const timer = setInterval(() => socket.write('X: y\r\n'), 20);
  // Not `once` of node:events, which rejects when the connection is reset before it closes.
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
  // What it was sending when it was cut off may make the kernel drop the answer.
  expect(answer).toMatch(/^(HTTP\/1\.1 408 |$)/);
});

test('more header than anyone needs is refused', async () => {
  await using server = await open();
  const { status } = await ask(server.execUrl(exec), { ...UPGRADE, Long: 'x'.repeat(20_000) });
  expect(status).toBe(431);
});

test('more connections than the limit are cut off', async () => {
  await using server = await open({ limits: { connections: 1 } });
  const { port } = new URL(server.url);
  const first = connect(Number(port), '127.0.0.1');
  await once(first, 'connect');
  const second = connect(Number(port), '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => second.once('close', resolve));
  first.destroy();
});

test('over TLS', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-tls-'));
  try {
    const [key, certificate] = [join(directory, 'key'), join(directory, 'cert')];
    const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const made = await run('openssl', [
      ...args,
      '-keyout',
      key,
      '-out',
      certificate,
      '-subj',
      '/CN=x',
    ]);
    expect(made.code).toBe(0);
    const tls = { key: await readFile(key), certificate: await readFile(certificate) };
    await using server = await open({ tls });
    const command = ['/bin/busybox', 'echo', 'secret'];
    const url = server.execUrl({ ...exec, command });
    expect(url).toMatch(/^https:/);
    const client = new WebSocket(url.replace('https', 'wss'), 'v5.channel.k8s.io', {
      rejectUnauthorized: false,
    });
    const messages: string[] = [];
    client.on('message', (data: Buffer) => messages.push(data.toString('latin1')));
    await once(client, 'close');
    expect(messages).toContain('\x01secret\n');
  } finally {
    await rm(directory, { recursive: true });
  }
});
