import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { newId } from '../base/index.ts';
import { exitOf, killGroup, start } from './start.ts';
import { notifySystemd } from './systemd.ts';

/** Prints the first message to the socket; @ stands for NUL. */
const SERVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace("@", "\\0"))
print("ready", flush=True)
print(s.recv(1000).decode())
`;

afterEach(() => {
  delete process.env['NOTIFY_SOCKET'];
});

const places = [
  ['a path', (directory: string) => join(directory, 'notify')],
  ['an abstract name', () => `@keelson-${newId()}`],
] as const;

test.each(places)('the service manager hears of the state at %s', async (_what, place) => {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-notify-'));
  const socket = place(directory);
  const server = start('python3', ['-c', SERVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = exitOf(server, 'python3');
  try {
    await once(server.stdout!, 'readable');
    const heard = text(server.stdout!);
    process.env['NOTIFY_SOCKET'] = socket;
    notifySystemd('READY=1');
    expect(await heard).toBe('ready\nREADY=1\n');
    expect(await ended).toMatchObject({ code: 0 });
  } finally {
    killGroup(server.pid);
    await rm(directory, { recursive: true });
  }
});

test('without a service manager nothing happens', () => notifySystemd('READY=1'));
