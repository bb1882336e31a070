import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { SILENT } from '../../src/base/index.ts';
import {
  createPinnedNamespace,
  removePinnedNamespace,
  setLoopbackUp,
} from '../../src/linux/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { startListener } from './listener.ts';
import { ProcessBackend } from './process-backend.ts';
import { SpdyClient } from './spdy-client.ts';
import { openTunnel } from './websocket-tunnel.ts';

const backend = new ProcessBackend();
let server: StreamingServer;
/** Answers what it heard, backwards, once it has heard the end. */
let reverser: Server;
let port: number;

beforeAll(async () => {
  server = await StreamingServer.open({
    address: '127.0.0.1',
    port: 0,
    backend,
    logger: SILENT,
    limits: { creation: 300, linger: 1000, drain: 200 },
  });
  reverser = createServer({ allowHalfOpen: true }, (socket) => {
    const parts: Buffer[] = [];
    socket.on('data', (chunk) => parts.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(parts).reverse()));
    socket.on('error', () => {});
  });
  reverser.listen(0, '127.0.0.1');
  await once(reverser, 'listening');
  port = (reverser.address() as AddressInfo).port;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  reverser.close();
});

async function forward(sandboxId = 's', ports: number[] = []): Promise<SpdyClient> {
  const url = server.portForwardUrl({ sandboxId, ports });
  return SpdyClient.connect(url, ['portforward.k8s.io']);
}

async function pair(client: SpdyClient, requestid: string, to = port) {
  const headers = { port: String(to), requestid };
  const error = await client.open({ streamtype: 'error', ...headers });
  client.data(error, '', true);
  const data = await client.open({ streamtype: 'data', ...headers });
  return { error, data };
}

async function sessionsEnd(): Promise<void> {
  await expect.poll(() => server.sessions).toBe(0);
}

test('many connections at once, each with half-close', async () => {
  const client = await forward();
  const pairs = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const { data, error } = await pair(client, String(i));
      client.data(data, `connection ${i} `);
      client.data(data, 'end', true);
      await client.until(() => data.ended && error.ended);
      return { data, error };
    }),
  );
  for (const [i, { data, error }] of pairs.entries()) {
    expect(data.text).toBe([...`connection ${i} end`].reverse().join(''));
    expect(error.text).toBe('');
  }
  client.control(7, Buffer.alloc(8));
  await client.untilClosed();
  expect(client.goaway?.status).toBe(0);
  await sessionsEnd();
});

test('a port without a listener is told on the error stream, and others go on', async () => {
  const client = await forward();
  const bad = await pair(client, 'bad', 1);
  await client.until(() => bad.error.ended && bad.data.reset !== undefined);
  expect(bad.error.text).toContain('Cannot connect to port 1');
  expect(bad.data.reset).toBe(5);
  const good = await pair(client, 'good');
  client.data(good.data, 'abc', true);
  await client.until(() => good.data.ended);
  expect(good.data.text).toBe('cba');
  client.close();
  await sessionsEnd();
});

test('without request ids, a data stream belongs to the error stream before it', async () => {
  const client = await forward();
  await client.open({ streamtype: 'error', port: String(port) });
  const data = await client.open({ streamtype: 'data', port: String(port) });
  client.data(data, 'abc', true);
  await client.until(() => data.ended);
  expect(data.text).toBe('cba');
  client.close();
  await sessionsEnd();
});

test.each([
  ['no port', { streamtype: 'error', requestid: '1' }],
  ['port 0', { streamtype: 'error', port: '0', requestid: '1' }],
  ['port 65536', { streamtype: 'error', port: '65536', requestid: '1' }],
  ['no number', { streamtype: 'error', port: '8o', requestid: '1' }],
  ['no type', { port: '80', requestid: '1' }],
  ['a port that was not asked for', { streamtype: 'error', port: '81', requestid: '1' }],
])('a stream with %s is refused', async (_, headers) => {
  const client = await forward('s', [80]);
  expect((await client.open(headers)).reset).toBe(3);
  client.close();
  await sessionsEnd();
});

test('a second stream of the same type, or for another port, is refused', async () => {
  const client = await forward();
  const first = await client.open({ streamtype: 'error', port: '80', requestid: '1' });
  expect(first.reset).toBeUndefined();
  expect((await client.open({ streamtype: 'error', port: '80', requestid: '1' })).reset).toBe(3);
  expect((await client.open({ streamtype: 'data', port: '81', requestid: '1' })).reset).toBe(3);
  client.close();
  await sessionsEnd();
});

test('a pair that stays incomplete is told so', async () => {
  const client = await forward();
  const error = await client.open({ streamtype: 'error', port: '80', requestid: '1' });
  const data = await client.open({ streamtype: 'data', port: '80', requestid: '2' });
  await client.until(() => error.ended && data.reset !== undefined);
  expect(error.text).toContain('did not come in time');
  client.close();
  await sessionsEnd();
});

test('when the client leaves or resets, its connections are closed', async () => {
  const count = () =>
    new Promise<number>((resolve) => reverser.getConnections((_, number) => resolve(number)));
  await expect.poll(count).toBe(0);
  const client = await forward();
  const one = await pair(client, '1');
  await pair(client, '2');
  await expect.poll(count).toBe(2);
  client.reset(one.data);
  await expect.poll(count).toBe(1);
  client.close();
  await expect.poll(count).toBe(0);
  await sessionsEnd();
});

test.each(['127.0.0.1', '::1'])('into a network namespace, to %s', async (address) => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-forward-'));
  const path = join(directory, 'net');
  try {
    createPinnedNamespace('net', path, setLoopbackUp);
    using _listener = await startListener({
      ...{ path, host: address, port: 80 },
      word: `from ${address}`,
    });
    backend.namespaces.set('pod', path);
    const client = await forward('pod');
    const { data, error } = await pair(client, '1', 80);
    await client.until(() => data.ended);
    expect(data.text).toBe(`from ${address}`);
    client.data(data, '', true);
    await client.until(() => error.ended);
    client.close();
    await sessionsEnd();
  } finally {
    await removePinnedNamespace(path);
    await rm(directory, { recursive: true });
  }
});

test('WebSocket with a pair of channels for each port', async () => {
  const speaker = createServer((socket) => {
    socket.once('data', (chunk) => socket.end(`heard ${chunk}`));
    socket.on('error', () => {});
  }).listen(0, '127.0.0.1');
  await once(speaker, 'listening');
  const other = (speaker.address() as AddressInfo).port;
  const url = server.portForwardUrl({ sandboxId: 's', ports: [1, other] });
  const socket = new WebSocket(url.replace('http', 'ws'), 'v4.channel.k8s.io');
  const channels: Record<number, Buffer> = {};
  socket.on('message', (data: Buffer) => {
    const channel = data[0]!;
    channels[channel] = Buffer.concat([channels[channel] ?? Buffer.alloc(0), data.subarray(1)]);
  });
  const closed = once(socket, 'close');
  await once(socket, 'open');
  socket.send(Buffer.concat([Buffer.of(2), Buffer.from('hello')]));
  const [code] = await closed;
  expect(code).toBe(1000);
  expect(channels[0]).toEqual(Buffer.of(1, 0));
  expect(channels[1]!.readUInt16LE()).toBe(1);
  expect(channels[1]!.toString('utf8', 2)).toContain('Cannot connect to port 1');
  expect(channels[2]!.readUInt16LE()).toBe(other);
  expect(channels[2]!.toString('utf8', 2)).toBe('heard hello');
  expect(channels[3]!.length).toBe(2);
  speaker.close();
  await sessionsEnd();
});

test('SPDY inside of WebSocket', async () => {
  const url = server.portForwardUrl({ sandboxId: 's', ports: [] });
  const tunnel = await openTunnel(url, 'SPDY/3.1+portforward.k8s.io');
  const client = new SpdyClient(tunnel, '', Buffer.alloc(0));
  const { data, error } = await pair(client, '1');
  client.data(data, 'abc'.repeat(30_000), true);
  await client.until(() => data.ended && error.ended);
  expect(data.text).toBe('cba'.repeat(30_000));
  const bad = await pair(client, '2', 1);
  await client.until(() => bad.error.ended);
  expect(bad.error.text).toContain('Cannot connect to port 1');
  client.control(7, Buffer.alloc(8));
  await client.untilClosed();
  expect(client.goaway?.status).toBe(0);
  await sessionsEnd();
});

test('when the client of a tunnel leaves, its connections are closed', async () => {
  const url = server.portForwardUrl({ sandboxId: 's', ports: [] });
  const tunnel = await openTunnel(url, 'SPDY/3.1+portforward.k8s.io');
  const client = new SpdyClient(tunnel, '', Buffer.alloc(0));
  await pair(client, '1');
  client.close();
  await sessionsEnd();
});

test('WebSocket channels need ports', async () => {
  const url = server.portForwardUrl({ sandboxId: 's', ports: [] });
  const socket = new WebSocket(url.replace('http', 'ws'), 'v4.channel.k8s.io');
  const [error] = await once(socket, 'error');
  expect(String(error)).toContain('403');
});

describe('closing the server', () => {
  const openServer = () =>
    StreamingServer.open({
      address: '127.0.0.1',
      port: 0,
      backend,
      logger: SILENT,
      limits: { drain: 50, linger: 1000 },
    });

  test('is told on the error streams of the connections under way', async () => {
    await using closing = await openServer();
    const url = closing.portForwardUrl({ sandboxId: 's', ports: [] });
    const client = await SpdyClient.connect(url, ['portforward.k8s.io']);
    const pairs = [await pair(client, '1'), await pair(client, '2')];
    const closed = closing[Symbol.asyncDispose]();
    await client.untilClosed();
    await closed;
    for (const { error } of pairs) {
      expect(error.text).toContain('the container runtime is shutting down');
      expect(error.ended).toBe(true);
    }
    expect(client.goaway?.status).toBe(0);
  });

  test('is told on the error channels of a WebSocket', async () => {
    await using closing = await openServer();
    const url = closing.portForwardUrl({ sandboxId: 's', ports: [port] });
    const socket = new WebSocket(url.replace('http', 'ws'), 'v4.channel.k8s.io');
    let errors = '';
    socket.on('message', (data: Buffer) => {
      if (data[0] === 1) errors += data.toString('latin1', 1);
    });
    const closed = once(socket, 'close');
    await once(socket, 'open');
    const disposed = closing[Symbol.asyncDispose]();
    await closed;
    await disposed;
    expect(errors.slice(2)).toContain('the container runtime is shutting down');
  });
});
