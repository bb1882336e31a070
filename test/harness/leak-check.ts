import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { processes, takeSnapshot } from './snapshot.ts';

/** How long things may take to vanish after the last test, in milliseconds. */
const PATIENCE = 8000;

/**
 * Compares the machine before and after the whole run: what is there in the end and was
 * not in the beginning was leaked, and fails the run. scripts/test.sh runs vitest below an
 * init that orphans are handed to: each process below it was started by a test.
 */
export async function setup(): Promise<() => Promise<void>> {
  const before = await takeSnapshot();
  return async () => {
    const end = Date.now() + PATIENCE;
    let leaked = await leaks(before);
    while (leaked.length > 0 && Date.now() < end) {
      await sleep(250);
      leaked = await leaks(before);
    }
    if (leaked.length === 0) return;
    throw new Error(`The tests left behind:\n  ${leaked.join('\n  ')}`);
  };
}

async function leaks(before: ReadonlySet<string>): Promise<string[]> {
  const after = [...(await takeSnapshot())].filter((thing) => !before.has(thing)).sort();
  // Of a tree of cgroups or files its top says enough.
  const tops = after.filter((thing) => !after.some((other) => thing.startsWith(`${other}/`)));
  return [...tops, ...(await leakedProcesses())];
}

async function leakedProcesses(): Promise<string[]> {
  const reaper = process.ppid;
  if (readFileSync(`/proc/${reaper}/comm`, 'utf8').trim() !== 'catatonit') return [];
  const all = await processes();
  const own = new Set([reaper]);
  // Children have parents with any pid: repeat until no more are found.
  for (let size = 0; size !== own.size; ) {
    size = own.size;
    for (const { pid, parent } of all) if (own.has(parent)) own.add(pid);
  }
  return all
    .filter(({ pid, parent, command }) => {
      const worker = parent === process.pid && command.includes('vitest');
      return own.has(pid) && pid !== reaper && pid !== process.pid && !worker;
    })
    .map(({ pid, command }) => `process ${pid}: ${command}`);
}
