import { Semaphore } from '../base/index.ts';
import type { Context } from './context.ts';
import { errorLine, exitCodeOf, usageError } from './failures.ts';
import { print } from './output.ts';

/** How many ids are worked on at the same time. */
const PARALLEL = 8;

/**
 * Does the same for each id. One that fails does not keep the others from being tried;
 * what `work` answers is printed. The program ends with the code of the failures, or
 * with 1 if they differ.
 */
export async function forEachId(
  ids: readonly string[],
  context: Context,
  work: (id: string) => Promise<string>,
): Promise<void> {
  if (ids.some((id) => id === '')) throw usageError('An id must not be empty');
  const room = new Semaphore(PARALLEL);
  const tries = [...new Set(ids)].map(async (id) => {
    using _held = await room.acquire();
    try {
      await print(context.stdout, await work(id));
    } catch (error) {
      if (context.signal.aborted) throw error;
      context.stderr.write(errorLine(error));
      context.fail(exitCodeOf(error));
    }
  });
  await Promise.all(tries);
}
