import { spawn } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type CriClient, output, waitFor } from '../test/harness/index.ts';
import { cpuSeconds, forgetPeak, peakBytes, watchPeak } from './process-usage.ts';

/** What one pull took. */
export interface Taken {
  /** Until the answer. */
  seconds: number;
  /** Until what was written is on the disk. */
  durable: number;
  cpu: number;
  /** The highest resident size, bytes; of the main process only. */
  peak: number;
}

/** Something that pulls images, and can forget them again. */
export interface Peer {
  readonly name: string;
  pull(reference: string): Promise<Taken>;
  forget(reference: string): Promise<void>;
}

/** A daemon with a CRI socket. `emptied` answers whether all of an image has been removed. */
export function criPeer(
  name: string,
  daemon: { client: CriClient; pid: number },
  emptied: () => Promise<boolean>,
): Peer {
  const { client, pid } = daemon;
  return {
    name,
    async pull(reference) {
      await forgetPeak(pid);
      const before = await cpuSeconds(pid);
      const taken = await timed(() => client.images.pullImage({ image: { image: reference } }));
      const after = await cpuSeconds(pid);
      const cpu = after.own + after.children - before.own - before.children;
      return { ...taken, cpu, peak: (await peakBytes(pid)) ?? 0 };
    },
    async forget(reference) {
      await client.images.removeImage({ image: { image: reference } });
      await waitFor(`${name} to remove the image`, emptied, 60_000);
    },
  };
}

/** `skopeo copy` to where `destination` says, below a directory that is its own. */
export function skopeoPeer(
  name: string,
  directory: string,
  destination: (directory: string) => string,
): Peer {
  return {
    name,
    async pull(reference) {
      const source = `docker://${reference}`;
      const flags = ['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false'];
      const before = await cpuSeconds('self');
      let peak = 0;
      const taken = await timed(async () => {
        peak = await runWatched('skopeo', [...flags, source, destination(directory)]);
      });
      const after = await cpuSeconds('self');
      return { ...taken, cpu: after.children - before.children, peak };
    },
    async forget() {
      // The storage library keeps a mount of its own directory.
      await output('umount', '-q', '-R', join(directory, 'root/overlay')).catch(() => {});
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Whether a directory has no entries, or is not there. */
export async function isEmpty(directory: string): Promise<boolean> {
  return (await readdir(directory).catch(() => [])).length === 0;
}

async function timed(work: () => Promise<unknown>): Promise<{ seconds: number; durable: number }> {
  const start = performance.now();
  await work();
  const seconds = (performance.now() - start) / 1000;
  await output('sync');
  return { seconds, durable: (performance.now() - start) / 1000 };
}

/** Runs a program to its end and answers the highest resident size that it had. */
async function runWatched(program: string, args: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('exit', resolve);
    child.once('error', reject);
  });
  const peak = await watchPeak(child.pid ?? 0, ended);
  if ((await ended) !== 0) throw new Error(`${program} ${args.join(' ')}: ${said}`);
  return peak;
}
