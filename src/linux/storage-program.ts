import { KeelsonError } from '../base/index.ts';
import { run } from './run.ts';

export interface ProgramOptions {
  /**
   * A file that the program holds a shared lock of (flock(2)) as long as it runs, also when
   * this process is killed: who comes after it can wait for the program's end.
   */
  lock?: string;
  /** Which exit codes are good. Default: 0. */
  succeeds?: (code: number) => boolean;
}

/**
 * Runs a program that makes or moves data. Fails with RESOURCE_EXHAUSTED when it says that
 * the disk is full, else with INTERNAL and the program's words. `what` goes on "Cannot …".
 */
export async function runProgram(
  what: string,
  command: readonly string[],
  { lock, succeeds = (code) => code === 0 }: ProgramOptions = {},
): Promise<void> {
  const held = lock === undefined ? [] : ['flock', '--shared', '--no-fork', lock];
  const [program = '', ...args] = [...held, ...command];
  const { code, stderr } = await run(program, args, { env: { ...process.env, LC_ALL: 'C' } });
  if (code !== undefined && succeeds(code)) return;
  const reason = stderr.toString().trim().slice(-1000);
  const full = /no space left on device|disk quota exceeded/i.test(reason);
  throw new KeelsonError(full ? 'RESOURCE_EXHAUSTED' : 'INTERNAL', `Cannot ${what}`, {
    reason: reason === '' ? `"${command[0]}" failed with exit code ${code}` : reason,
  });
}
