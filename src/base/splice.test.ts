import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { NEVER } from './signals.ts';
import { splice } from './splice.ts';

/** Two ends of a TCP connection. */
async function connection(): Promise<[near: Socket, far: Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const near = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [Socket];
  server.close();
  for (const socket of [near, far]) socket.on('error', () => {});
  return [near, far];
}

test('the end of one direction leaves the other open', async () => {
  const [client, a] = await connection();
  const [b, service] = await connection();
  const joined = splice(a, b, NEVER);
  client.end('a question');
  expect(await text(service)).toBe('a question');
  service.end('x'.repeat(1_000_000));
  expect(await text(client)).toBe('x'.repeat(1_000_000));
  await joined;
});

test('when one side breaks, the other is cut off', async () => {
  const [client, a] = await connection();
  const [b, service] = await connection();
  const joined = splice(a, b, NEVER);
  client.write('x');
  await once(service, 'data');
  const closed = once(service, 'end');
  client.resetAndDestroy();
  await expect(joined).rejects.toThrow();
  await closed;
  service.destroy();
});

test('aborting cuts both off', async () => {
  const [client, a] = await connection();
  const [b, service] = await connection();
  const abort = new AbortController();
  const joined = splice(a, b, abort.signal);
  const closed = Promise.all([once(client.resume(), 'end'), once(service.resume(), 'end')]);
  abort.abort(new Error('enough'));
  await expect(joined).rejects.toThrow();
  await closed;
  client.destroy();
  service.destroy();
});
