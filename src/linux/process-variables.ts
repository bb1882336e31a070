import { readdir, readFile } from 'node:fs/promises';

/** The processes that were started with this value of an environment variable. */
export async function processesWithVariable(name: string, value: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(pid)) continue;
    // It may have ended meanwhile.
    const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (text.split('\0').includes(`${name}=${value}`)) found.push(Number(pid));
  }
  return found;
}
