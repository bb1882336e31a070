import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { NEVER } from '../base/index.ts';
import { SystemBus } from './dbus.ts';

let directory: string;
let server: Server | undefined;
const sockets: Socket[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keelson-dbus-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A bus that answers each thing that it is told with the next of these. */
async function scriptedBus(...answers: (string | Buffer)[]): Promise<void> {
  const path = join(directory, 'bus');
  vi.stubEnv('DBUS_SYSTEM_BUS_ADDRESS', `tcp:host=x;unix:path=${path},guid=00`);
  server = createServer((socket) => {
    sockets.push(socket);
    const script = [...answers];
    socket.on('error', () => {});
    socket.on('data', (data) => {
      // "BEGIN" comes with or before the first message.
      if (data.toString('latin1') === 'BEGIN\r\n') return;
      const answer = script.shift();
      if (answer === undefined) socket.destroy();
      else socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => server?.listen(path, resolve));
}

/** A message of type 2 (return), 3 (error) or 4 (signal), in either byte order. */
function message(
  type: number,
  replyTo: number,
  body: { signature: string; bytes: Buffer },
  bigEndian = false,
): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bigEndian ? bytes.writeUInt32BE(value) : bytes.writeUInt32LE(value);
    return bytes;
  };
  const padded = (bytes: Buffer) =>
    Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  const fields = [
    ...(type === 4 ? [] : [Buffer.concat([Buffer.from('\x05\x01u\0', 'latin1'), u32(replyTo)])]),
    ...(type === 3
      ? [Buffer.concat([Buffer.from('\x04\x01s\0', 'latin1'), u32(3), Buffer.from('a.b\0')])]
      : []),
    Buffer.concat([
      Buffer.from('\x08\x01g\0', 'latin1'),
      Buffer.of(body.signature.length),
      Buffer.from(`${body.signature}\0`),
    ]),
  ];
  const last = fields.pop() ?? Buffer.alloc(0);
  const array = Buffer.concat([...fields.map(padded), last]);
  const order = bigEndian ? 'B' : 'l';
  const head = Buffer.concat([
    Buffer.from([order.charCodeAt(0), type, 0, 1]),
    u32(body.bytes.length),
    u32(7),
    u32(array.length),
  ]);
  return Buffer.concat([padded(Buffer.concat([head, array])), body.bytes]);
}

const text = (value: string) => {
  const bytes = Buffer.alloc(4 + value.length + 1);
  bytes.writeUInt32LE(value.length);
  bytes.write(value, 4);
  return { signature: 's', bytes };
};
const hello = message(2, 1, text(':1.7'));
const call = { destination: 'a.b', path: '/a', interface: 'a.b', member: 'C', args: ['x'] };

test('answers come in any byte order, in pieces, with signals in between', async () => {
  const signal = message(4, 0, text(':1.7'));
  const yes = message(2, 2, { signature: 'b', bytes: Buffer.of(0, 0, 0, 1) }, true);
  await scriptedBus('OK 1234\r\n', hello, Buffer.concat([signal, yes, signal.subarray(0, 9)]));
  using bus = await SystemBus.connect(NEVER);
  expect(await bus.has('a.b')).toBe(true);
});

test('an error of the service is an answer', async () => {
  await scriptedBus('OK 1234\r\n', hello, message(3, 2, text('it is late')));
  using bus = await SystemBus.connect(NEVER);
  expect(await bus.call(call)).toEqual({ replyTo: 2, errorName: 'a.b', values: ['it is late'] });
});

test.each([
  ['answered "REJECTED', 'REJECTED EXTERNAL\r\n', hello],
  ['hung up', 'OK 1234\r\n'],
  ['more than anyone reads', 'OK 1234\r\n', Buffer.alloc(2 * 1024 * 1024, 'l')],
])('a bus that is none: %s', async (reason, ...answers) => {
  await scriptedBus(...answers);
  await expect(SystemBus.connect(NEVER)).rejects.toThrow(reason);
});

test('a bus that is silent is waited for no longer than asked', async () => {
  await scriptedBus('');
  await expect(SystemBus.connect(AbortSignal.timeout(50))).rejects.toMatchObject({
    name: 'TimeoutError',
  });
});

test('where there is none, and where the address is none', async () => {
  vi.stubEnv('DBUS_SYSTEM_BUS_ADDRESS', `unix:path=${directory}/none`);
  await expect(SystemBus.connect(NEVER)).rejects.toThrow('ENOENT');
  vi.stubEnv('DBUS_SYSTEM_BUS_ADDRESS', 'tcp:host=x');
  await expect(SystemBus.connect(NEVER)).rejects.toThrow('names no Unix socket');
});
