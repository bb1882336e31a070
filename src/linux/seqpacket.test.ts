import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connectSeqpacket } from './seqpacket.ts';
import { exitOf, start } from './start.ts';

/** Sends two packets at once, then answers each packet with its length, and "end" at the end. */
const SERVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
import os
os.chdir(os.path.dirname(sys.argv[1]))
s.bind(os.path.basename(sys.argv[1]))
s.listen(1)
print("ready", flush=True)
c, _ = s.accept()
c.send(b"\\x02out")
c.send(b"\\x03err")
while True:
    packet = c.recv(65536)
    if not packet: break
    c.send(b"%d" % len(packet))
c.send(b"end")
`;

async function serve(path: string) {
  const child = start('python3', ['-c', SERVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

test('packets keep their bounds both ways, and half-close leaves the other way open', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-seqpacket-'));
  try {
    // Longer than a socket address can say.
    const deep = join(directory, 'x'.repeat(90));
    await mkdir(deep);
    const path = join(deep, 'attach');
    const child = await serve(path);
    const ended = exitOf(child, 'python3');
    const stream = await connectSeqpacket(path, AbortSignal.timeout(10_000));
    stream.write(Buffer.alloc(20_000));
    stream.write('abc');
    stream.end('de');
    const packets: string[] = [];
    for await (const packet of stream) packets.push(String(packet));
    expect(packets).toEqual(['\x02out', '\x03err', '8192', '8192', '3616', '3', '2', 'end']);
    expect(await ended).toMatchObject({ code: 0 });
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a socket that is not there is said with its path', async () => {
  await expect(connectSeqpacket('/nonexistent/attach', AbortSignal.timeout(1000))).rejects.toThrow(
    'Cannot connect to "/nonexistent/attach"',
  );
});
