import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { setLoopbackUp } from './interfaces.ts';
import { connectLoopback } from './namespace-sockets.ts';
import { createPinnedNamespace, insideNamespace, removePinnedNamespace } from './namespaces.ts';
import { killGroup, start } from './start.ts';

/** Answers one connection with its input upside down, after its end. */
const SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET6 if sys.argv[1] == "::1" else socket.AF_INET)
s.bind((sys.argv[1], 8080))
s.listen(1)
print("ready", flush=True)
c, _ = s.accept()
data = b""
while True:
    more = c.recv(65536)
    if not more: break
    data += more
c.sendall(data[::-1])
c.close()
`;

async function inNamespace(work: (path: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-sockets-'));
  const path = join(directory, 'net');
  try {
    createPinnedNamespace('net', path, setLoopbackUp);
    await work(path);
  } finally {
    await removePinnedNamespace(path);
    await rm(directory, { recursive: true });
  }
}

test.each(['127.0.0.1', '::1'])('reaches a program that listens at %s in a namespace', (address) =>
  inNamespace(async (path) => {
    const server = insideNamespace('net', path, () =>
      start('python3', ['-c', SERVER, address], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    try {
      await once(server.stdout!, 'data');
      const socket = await connectLoopback(path, 8080, AbortSignal.timeout(10_000));
      socket.end('abc');
      expect(await text(socket)).toBe('cba');
    } finally {
      killGroup(server.pid);
    }
  }),
);

test('a port without a listener is an error that says so', () =>
  inNamespace(async (path) => {
    await expect(connectLoopback(path, 81, AbortSignal.timeout(10_000))).rejects.toThrow(
      /Cannot connect to port 81: .*ECONNREFUSED.*nothing in the pod listens there/,
    );
  }));

test('without a namespace it is the host that is reached', async () => {
  await expect(connectLoopback(undefined, 1, AbortSignal.timeout(10_000))).rejects.toThrow(
    'ECONNREFUSED',
  );
});
