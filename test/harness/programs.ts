import { execFile } from 'node:child_process';

/** Runs a program to its end and answers its standard output; fails if its exit code is not 0. */
export function output(program: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${args.join(' ')}: ${stderr || error.message}`));
    });
  });
}

/** The same, but answers an empty string where the program fails or is not there. */
export function outputOrNothing(program: string, ...args: string[]): Promise<string> {
  return output(program, ...args).catch(() => '');
}

/** The same, parsed as JSON; `ip -json` writes nothing at all for an empty list. */
export async function jsonOutput<T>(program: string, ...args: string[]): Promise<T[]> {
  const text = await outputOrNothing(program, ...args);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}
