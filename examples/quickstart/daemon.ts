import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CriClient, connect, waitFor } from '../../test/harness/index.ts';

const KEELSON = new URL('../../keelson', import.meta.url).pathname;

/** A daemon whose files all lie in one directory, and the command line that talks to it. */
export interface Daemon extends AsyncDisposable {
  readonly client: CriClient;
  readonly socket: string;
  /** Runs `keelson ARGUMENT…` on this terminal. */
  keelson(...args: string[]): Promise<void>;
}

export async function startDaemon(directory: string): Promise<Daemon> {
  const socket = `unix://${join(directory, 'keelson.sock')}`;
  const log = join(directory, 'daemon.log');
  const config = join(directory, 'config.toml');
  await writeFile(config, `[cni]\ncache_dir = "${join(directory, 'cni')}"\n`);
  await mkdir(join(directory, 'net.d'));
  await using output = await open(log, 'w');
  const child = spawn(
    KEELSON,
    [
      ...['serve', '--config', config, '--listen', socket, '--default-network'],
      ...['--root', join(directory, 'root'), '--state', join(directory, 'state')],
      ...['--cni-conf-dir', join(directory, 'net.d')],
    ],
    { stdio: ['ignore', output.fd, output.fd], detached: true },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const client = connect(socket);
  const stop = async () => {
    client.close();
    child.kill('SIGTERM');
    await ended;
  };
  const failed = ended.then(() => {
    throw new Error(`The daemon ended:\n${readFileSync(log, 'utf8')}`);
  });
  try {
    await Promise.race([
      waitFor('an answer of the daemon', () => client.runtime.version()),
      failed,
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    client,
    socket,
    keelson: (...args) => runKeelson(['--socket', socket, ...args]),
    [Symbol.asyncDispose]: stop,
  };
}

function runKeelson(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(KEELSON, args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`"keelson ${args.join(' ')}" ended with ${code}`));
    });
  });
}
