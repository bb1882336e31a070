import { readdir, readFile } from 'node:fs/promises';

/** The processes that were started with an environment variable that has one of the values. */
export async function processesWithVariable(
  name: string,
  isMeant: (value: string) => boolean,
): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^[0-9]+$/.test(pid)) continue;
    // It may have ended meanwhile.
    const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    const value = text.split('\0').find((each) => each.startsWith(`${name}=`));
    if (value !== undefined && isMeant(value.slice(name.length + 1))) found.push(Number(pid));
  }
  return found;
}
