import { readdir, readFile, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { expect } from 'vitest';
import { ended, shell } from '../cri/suite.ts';
import { containerConfig, type Daemon, runContainer, runPod, waitFor } from '../harness/index.ts';
import type { Interrupted } from './scenarios.ts';

/** Numbered lines without end, in pieces that nearly always end in the middle of one. */
const TALKER = `
  first=0
  while :; do
    awk -v first=$first 'BEGIN {
      for (i = 0; i < 300; i++) x = x "x"
      for (i = 0; i < 50; i++) printf "%d %s\\n", first + i, x
    }'
    first=$((first + 50))
    usleep 5000
  done | dd obs=4093 2>/dev/null`;

/** The files of a log, the oldest first. Fails if there is anything else beside it. */
async function filesOf(path: string): Promise<string[]> {
  const names = await readdir(dirname(path));
  const rotated = names.filter((name) => name.startsWith(`${basename(path)}.`)).sort();
  expect([...rotated, basename(path)].sort()).toEqual(names.sort());
  return [...rotated.map((name) => join(dirname(path), name)), path];
}

/** The numbers of the lines in a log. Fails unless each file has whole lines in order, and all. */
async function numbersIn(files: readonly string[]): Promise<number> {
  let count = 0;
  for (const [index, file] of files.entries()) {
    const records = (await readFile(file, 'utf8')).split('\n').slice(0, -1);
    const lines = records
      .map((record) => record.split(' ').slice(2))
      .map(([tag, ...content]) => content.join(' ') + (tag === 'F' ? '\n' : ''))
      .join('')
      .split('\n');
    // The last file may end where the container was killed.
    const rest = lines.pop();
    if (index < files.length - 1) expect(rest, file).toBe('');
    for (const line of lines) expect(line.split(' ')[0]).toBe(String(count++));
  }
  return count;
}

/** A log that is rotated while a line is under way, by a kubelet that takes it back on failure. */
export async function reopenLog(daemon: Daemon, image: string): Promise<Interrupted> {
  const pod = await runPod(daemon);
  const config = containerConfig(image, { ...shell(TALKER), logPath: 'talker/0.log' });
  const containerId = await runContainer(daemon, pod, config);
  const path = join(pod.config.logDirectory, config.logPath);
  const written = async () => {
    const text = await readFile(path, 'utf8').catch(() => '');
    return text.length > 100_000;
  };
  await waitFor('lines', written);
  const rotated = `${path}.20200101-000000`;
  const rotate = async (name: string) => {
    await rename(path, name);
    await daemon.runtime.reopenContainerLog({ containerId });
  };
  const call = async () => {
    try {
      await rotate(rotated);
    } catch (error) {
      await rename(rotated, path);
      throw error;
    }
  };
  const after = async () => {
    await waitFor('lines after the crash', written);
    // Its kubelet asks again.
    await rotate(`${path}.30200101-000000`);
    await waitFor('lines in another file', written);
    await daemon.runtime.stopContainer({ containerId, timeout: 0n });
    await ended(daemon, containerId);
    const files = await filesOf(path);
    expect(files.length).toBeGreaterThanOrEqual(2);
    expect(await numbersIn(files)).toBeGreaterThan(600);
  };
  return { call, after, kept: [pod.id, containerId] };
}
