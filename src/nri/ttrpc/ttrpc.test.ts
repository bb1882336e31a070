import { once } from 'node:events';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newId } from '../../base/index.ts';
import { TtrpcClient } from './client.ts';
import { Multiplexer } from './multiplexer.ts';
import { type Method, TtrpcServer } from './server.ts';

let near: Socket;
let far: Socket;
let closed: Promise<Error>;
let trunk: Multiplexer;

/** The client is on connection 1 of `near`. */
let client: TtrpcClient;

beforeEach(async () => {
  const path = join(tmpdir(), `keelson-${newId().slice(0, 12)}.sock`);
  const server = createServer().listen(path);
  await once(server, 'listening');
  near = connectSocket(path);
  [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  const { promise, resolve } = Promise.withResolvers<Error>();
  closed = promise;
  trunk = new Multiplexer(near, (reason) => {
    client.close(reason);
    resolve(reason);
  });
  client = new TtrpcClient(trunk.open(1, (bytes) => client.receive(bytes)));
});

afterEach(() => {
  near.destroy();
  far.destroy();
});

/** Serves on connection 1 of `far`. */
function serve(methods: Record<string, Method>): void {
  const remote = new Multiplexer(far, () => {});
  const server: TtrpcServer = new TtrpcServer(
    new Map(Object.entries(methods)),
    remote.open(1, (bytes) => server.receive(bytes)),
  );
}

const call = (method: string, payload: Uint8Array = new Uint8Array()) =>
  client.call({ service: 'test', method, payload, timeout: 1000 });

test('calls are answered in any order, with up to 4 MiB', async () => {
  const first = Promise.withResolvers<void>();
  serve({
    'test/Wait': async () => {
      await first.promise;
      return Buffer.from('waited');
    },
    'test/Echo': async (payload) => payload,
  });
  const waiting = call('Wait');
  for (const size of [0, 1, 4000, 4090, 4096, 8192, (4 << 20) - 100]) {
    const payload = Buffer.alloc(size, size % 251);
    expect(Buffer.from(await call('Echo', payload)).equals(payload)).toBe(true);
  }
  first.resolve();
  expect(Buffer.from(await waiting).toString()).toBe('waited');
  await expect(call('Echo', Buffer.alloc(4 << 20))).rejects.toThrow('more than 4194304');
});

test('a message goes in a frame of 4096 bytes, as peers in Go take it, and one with the rest', async () => {
  const chunks: Buffer[] = [];
  far.on('data', (chunk) => chunks.push(chunk));
  void call('Echo', Buffer.alloc(20_000)).catch(() => {});
  near.end();
  await once(far, 'end');
  let bytes = Buffer.concat(chunks);
  const lengths: number[] = [];
  while (bytes.length > 0) {
    expect(bytes.readUInt32BE(0)).toBe(1);
    lengths.push(bytes.readUInt32BE(4));
    bytes = bytes.subarray(8 + bytes.readUInt32BE(4));
  }
  expect(lengths[0]).toBe(4096);
  expect(lengths).toHaveLength(2);
});

test('errors keep their code; unknown methods are UNIMPLEMENTED', async () => {
  serve({
    'test/Fail': () => Promise.reject(Object.assign(new Error('no'), { name: 'TimeoutError' })),
  });
  await expect(call('Fail')).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await expect(call('Other')).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
});

test('one peer has 32 calls under way at most', async () => {
  serve({ 'test/Wait': () => new Promise(() => {}) });
  for (let each = 0; each < 32; each++) void call('Wait').catch(() => {});
  await expect(call('Wait')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
});

test('the end of a connection fails the calls on it, and those to come', async () => {
  const waiting = call('Wait');
  far.end();
  await expect(waiting).rejects.toThrow('The connection is closed');
  await closed;
  await expect(call('Wait')).rejects.toThrow('The connection is closed');
});

test('a peer that does not read is given up when too much waits for it', async () => {
  far.pause();
  const payload = Buffer.alloc(3 << 20);
  const calls = Array.from({ length: 8 }, () => call('Echo', payload));
  await Promise.all(calls.map((each) => expect(each).rejects.toThrow('does not read')));
});

test.each([
  ['a response to nothing', '0000000a', 1, '00000000000000010200'],
  ['a request on an even stream', '0000000a', 2, '00000000000000020100'],
  ['a request of no type', '0000000a', 2, '00000000000000010900'],
])('%s ends the connection', async (_what, length, connection, message) => {
  const server: TtrpcServer = new TtrpcServer(
    new Map(),
    trunk.open(2, (bytes) => server.receive(bytes)),
  );
  far.write(Buffer.from(`0000000${connection}${length}${message}`, 'hex'));
  expect((await closed).message).toMatch('Cannot make sense of a message');
});

test('connections that nobody has opened are passed over', async () => {
  serve({ 'test/Echo': async (payload) => payload });
  far.write(Buffer.from('0000002a00000001ff', 'hex'));
  expect(await call('Echo', Buffer.from('x'))).toHaveLength(1);
});
