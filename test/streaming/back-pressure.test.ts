import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { SILENT, sleep } from '../../src/base/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { ProcessBackend } from './process-backend.ts';
import { SpdyClient } from './spdy-client.ts';

const MEBIBYTE = 1024 * 1024;
const TOTAL = 256 * MEBIBYTE;
const BOUND = 32 * MEBIBYTE;

function open(): Promise<StreamingServer> {
  const limits = { drain: 100, linger: 1000, probe: 200 };
  const options = { address: '127.0.0.1', port: 0, backend: new ProcessBackend(), logger: SILENT };
  return StreamingServer.open({ ...options, limits });
}

function execUrl(server: StreamingServer, script: string, stdin = false): string {
  const command = ['/bin/busybox', 'sh', '-c', script];
  const streams = { tty: false, stdin, stdout: true, stderr: false };
  return server.execUrl({ containerId: 'c', command, ...streams });
}

/** The memory of this process, which is both client and server, apart from what is garbage. */
function memory(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

/** The peak of memory above what it was, until `work` is done. */
async function growthDuring(work: Promise<unknown>): Promise<number> {
  const before = memory();
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 20);
  await work;
  clearInterval(timer);
  return peak - before;
}

test('SPDY: a client that pauses gets all in the end, and the server keeps little', {
  timeout: 60_000,
}, async () => {
  await using server = await open();
  const url = execUrl(server, `yes | head -c ${TOTAL}`);
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  client.keep = false;
  const error = await client.open({ streamtype: 'error' });
  client.socket.pause();
  void client.open({ streamtype: 'stdout' }).catch(() => {});
  const paused = growthDuring(sleep(1500));
  expect(await paused).toBeLessThan(BOUND);
  client.socket.resume();
  const stdout = client.streams.get(3)!;
  await client.untilClosed();
  expect(stdout.bytes).toBe(TOTAL);
  expect(error.bytes).toBeGreaterThan(0);
});

test('WebSocket: a client that pauses gets all in the end, and the server keeps little', {
  timeout: 60_000,
}, async () => {
  await using server = await open();
  const url = execUrl(server, `yes | head -c ${TOTAL}`).replace('http', 'ws');
  const socket = new WebSocket(url, 'v5.channel.k8s.io');
  let size = 0;
  socket.on('message', (data: Buffer) => {
    if (data[0] === 1) size += data.length - 1;
  });
  await once(socket, 'open');
  socket.pause();
  expect(await growthDuring(sleep(1500))).toBeLessThan(BOUND);
  socket.resume();
  await once(socket, 'close');
  expect(size).toBe(TOTAL);
});

test.each(['SPDY', 'WebSocket'])(
  '%s: what a command does not read is not taken from the client, nor kept',
  { timeout: 60_000 },
  async (transport) => {
    await using server = await open();
    const url = execUrl(server, 'sleep 1.5; cat | sha256sum', true);
    const chunk = Buffer.alloc(32 * 1024, 'x');
    const sent = TOTAL / 2;
    const hash = createHash('sha256');
    for (let size = 0; size < sent; size += chunk.length) hash.update(chunk);
    const sender =
      transport === 'SPDY' ? await spdySender(url, chunk) : await webSocketSender(url, chunk);
    let taken = 0;
    const sending = (async () => {
      for (let size = 0; size < sent; size += chunk.length) {
        await sender.send();
        taken = size;
      }
      sender.end();
    })();
    expect(await growthDuring(sleep(1000))).toBeLessThan(BOUND);
    // The socket buffers of both sides, and the budget.
    expect(taken).toBeLessThan(24 * MEBIBYTE);
    await sending;
    expect(await sender.output()).toBe(`${hash.digest('hex')}  -\n`);
  },
);

interface Sender {
  send(): Promise<void>;
  end(): void;
  vanish(): void;
  /** What the command said until the end. */
  output(): Promise<string>;
}

async function spdySender(url: string, chunk: Buffer): Promise<Sender> {
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  await client.open({ streamtype: 'error' });
  const stdin = await client.open({ streamtype: 'stdin' });
  const stdout = await client.open({ streamtype: 'stdout' });
  return {
    send: async () => {
      if (!client.data(stdin, chunk)) await once(client.socket, 'drain');
    },
    end: () => client.data(stdin, '', true),
    vanish: () => client.close(),
    output: async () => {
      await client.untilClosed();
      return stdout.text;
    },
  };
}

async function webSocketSender(url: string, chunk: Buffer): Promise<Sender> {
  const socket = new WebSocket(url.replace('http', 'ws'), 'v5.channel.k8s.io');
  let text = '';
  socket.on('message', (data: Buffer) => {
    if (data[0] === 1) text += data.toString('latin1', 1);
  });
  await once(socket, 'open');
  const message = Buffer.concat([Buffer.of(0), chunk]);
  return {
    send: () => new Promise((resolve) => socket.send(message, () => resolve())),
    end: () => socket.send(Buffer.of(255, 0)),
    vanish: () => socket.terminate(),
    output: async () => {
      await once(socket, 'close');
      return text;
    },
  };
}

test.each(['SPDY', 'WebSocket'])(
  '%s: a client that vanishes while its input is held back is noticed',
  { timeout: 60_000 },
  async (transport) => {
    await using server = await open();
    const url = execUrl(server, 'sleep 1000', true);
    const chunk = Buffer.alloc(MEBIBYTE - 1);
    const sender =
      transport === 'SPDY' ? await spdySender(url, chunk) : await webSocketSender(url, chunk);
    const sending = (async () => {
      for (let i = 0; i < 20; i++) await sender.send();
    })();
    sending.catch(() => {});
    await sleep(300);
    expect(server.sessions).toBe(1);
    sender.vanish();
    await expect.poll(() => server.sessions, { timeout: 30_000 }).toBe(0);
  },
);
