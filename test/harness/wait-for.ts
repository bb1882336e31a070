import { setTimeout as sleep } from 'node:timers/promises';

/** How much longer than usual all takes: machines that are emulated set it. */
const PATIENCE = Number(process.env['TEST_PATIENCE'] ?? 1);

/**
 * Asks `probe` every 20 ms until it answers something other than undefined, null or false,
 * and answers that. A probe that throws is asked again; its last error is told in the end.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T> | T,
  milliseconds = 10_000,
): Promise<Exclude<T, undefined | null | false>> {
  const end = Date.now() + milliseconds * PATIENCE;
  for (;;) {
    let failure: unknown;
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== null && answer !== false) {
        return answer as Exclude<T, undefined | null | false>;
      }
    } catch (error) {
      failure = error;
    }
    if (Date.now() > end) {
      throw new Error(`${what}: not within ${milliseconds} ms`, { cause: failure });
    }
    await sleep(20);
  }
}
