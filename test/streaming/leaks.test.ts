import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { SILENT } from '../../src/base/index.ts';
import { exitOf, killGroup, start } from '../../src/linux/index.ts';
import { StreamingServer } from '../../src/streaming/index.ts';
import { ResourceCount } from './live-resources.ts';
import { ProcessBackend } from './process-backend.ts';
import { SpdyClient } from './spdy-client.ts';

const BUSYBOX = '/bin/busybox';
const WAIT = { timeout: 10_000 };
const STREAMS = { tty: false, stdin: true, stdout: true, stderr: false };

/** A session that is used to its end, or whose client vanishes in the middle. */
type Session = (server: StreamingServer, vanishes: boolean) => Promise<void>;

function execUrl(server: StreamingServer, vanishes: boolean): string {
  const command = [BUSYBOX, 'sh', '-c', vanishes ? 'echo x; exec sleep 1000000' : 'echo x'];
  return server.execUrl({ containerId: 'c', command, ...STREAMS });
}

async function spdy(url: string, vanishes: boolean): Promise<void> {
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  for (const streamtype of ['error', 'stdin']) await client.open({ streamtype });
  const stdout = await client.open({ streamtype: 'stdout' });
  await client.until(() => stdout.text.includes('x'));
  if (vanishes) client.close();
  await client.untilClosed();
}

async function webSocket(url: string, vanishes: boolean): Promise<void> {
  const socket = new WebSocket(url.replace('http', 'ws'), 'v5.channel.k8s.io');
  const closed = once(socket, 'close');
  while (true) {
    const [message] = (await once(socket, 'message')) as [Buffer];
    if (message[0] === 1 && message.includes('x')) break;
  }
  if (vanishes) socket.terminate();
  await closed;
}

/** Attached clients can only leave: the container runs on. */
const attachUrl = (server: StreamingServer) =>
  server.attachUrl({ containerId: 'clock', ...STREAMS });

function forwarding(port: number): Session {
  return async (server, vanishes) => {
    const url = server.portForwardUrl({ sandboxId: 's', ports: [] });
    const client = await SpdyClient.connect(url, ['portforward.k8s.io']);
    const headers = { port: String(port), requestid: '1' };
    const error = await client.open({ streamtype: 'error', ...headers });
    const data = await client.open({ streamtype: 'data', ...headers });
    client.data(data, 'hello', !vanishes);
    await client.until(() => data.text === 'hello' && (vanishes || (data.ended && error.ended)));
    client.close();
    await client.untilClosed();
  };
}

test('1,000 sessions of all kinds leave no descriptor and no timer', {
  timeout: 120_000,
}, async () => {
  const backend = new ProcessBackend();
  const clock = start(BUSYBOX, ['sh', '-c', 'while :; do echo x; sleep 0.05; done'], {
    stdio: 'pipe',
  });
  const clockEnded = exitOf(clock, 'sh');
  backend.containers.set('clock', clock);
  clock.stdout!.setMaxListeners(100);
  clock.stderr!.setMaxListeners(100).resume();
  clock.setMaxListeners(100);
  const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(
    0,
    '127.0.0.1',
  );
  await once(echo, 'listening');
  const limits = { creation: 3000, linger: 1000, drain: 200 };
  const server = await StreamingServer.open({
    ...{ address: '127.0.0.1', port: 0, backend, logger: SILENT, limits },
  });
  const kinds: Session[] = [
    (on, vanishes) => spdy(execUrl(on, vanishes), vanishes),
    (on, vanishes) => webSocket(execUrl(on, vanishes), vanishes),
    (on) => spdy(attachUrl(on), true),
    (on) => webSocket(attachUrl(on), true),
    forwarding((echo.address() as AddressInfo).port),
  ];
  const round = async () => {
    await Promise.all(kinds.flatMap((kind) => [kind(server, false), kind(server, true)]));
  };
  const quiet = () => expect.poll(() => server.sessions, WAIT).toBe(0);
  try {
    using count = new ResourceCount();
    for (let i = 0; i < 5; i++) await round();
    await quiet();
    const before = count.live;
    for (let i = 0; i < 100; i++) await round();
    await quiet();
    const { descriptors } = before;
    await expect.poll(() => count.live.descriptors, WAIT).toBeLessThanOrEqual(descriptors);
    // The polling has timers of its own.
    await expect.poll(() => count.live.timers, WAIT).toBeLessThanOrEqual(3);
  } finally {
    await server[Symbol.asyncDispose]();
    echo.close();
    killGroup(clock.pid);
    await clockEnded;
  }
});
