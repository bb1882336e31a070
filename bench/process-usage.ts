import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Clock ticks a second, of the times in /proc/PID/stat; Linux shows all programs 100. */
const TICKS = 100;

/** CPU seconds of a process with its threads, and of the children that it has waited for. */
export async function cpuSeconds(pid: number | 'self'): Promise<{ own: number; children: number }> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold anything; utime is the 14th field, the 12th after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [utime, stime, cutime, cstime] = fields.slice(11, 15).map(Number);
  return {
    own: ((utime ?? 0) + (stime ?? 0)) / TICKS,
    children: ((cutime ?? 0) + (cstime ?? 0)) / TICKS,
  };
}

/** Makes the kernel forget the highest resident size that a process has had. */
export async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5');
}

/** The highest resident size of a process in bytes; undefined when it has ended. */
export async function peakBytes(pid: number): Promise<number | undefined> {
  try {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined;
  }
}

/** Looks at a process that ends by itself; answers the last peak that was seen. */
export async function watchPeak(pid: number, ended: Promise<unknown>): Promise<number> {
  let peak = 0;
  let running = true;
  ended.finally(() => {
    running = false;
  });
  while (running) {
    peak = Math.max(peak, (await peakBytes(pid)) ?? 0);
    await sleep(10);
  }
  return peak;
}
