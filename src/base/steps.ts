import { messageOf } from './errors.ts';
import { faultPoint } from './fault-points.ts';
import type { Logger } from './log.ts';
import { span } from './spans.ts';

type Undo = (signal: AbortSignal) => Promise<void> | void;

/** How long all undo steps of one operation may take together, in milliseconds. */
const UNDO_DEADLINE = 60_000;

/**
 * An operation as a sequence of named steps. Each step is a span and a fault point, and
 * may say how it is undone. When the operation is left without `commit`, the undo steps
 * run, last first, with a deadline of their own, and go on past one that fails.
 *
 *     await using steps = new Steps('run-pod-sandbox', logger);
 *     await steps.run('mount shm', () => mountShm(dir), () => unmount(dir));
 *     steps.commit();
 */
export class Steps implements AsyncDisposable {
  readonly #operation: string;
  readonly #logger: Logger;
  readonly #undo: { name: string; undo: Undo }[] = [];

  constructor(operation: string, logger: Logger) {
    this.#operation = operation;
    this.#logger = logger;
  }

  /**
   * Runs one step. Its undo is registered before the step runs, because a step that
   * failed may have done half of its work: undo must cope with nothing being there.
   */
  async run<T>(name: string, work: () => Promise<T> | T, undo?: Undo): Promise<T> {
    if (undo !== undefined) this.#undo.push({ name, undo });
    const result = await span(name, {}, async () => work());
    faultPoint(`${this.#operation}/${name}`);
    return result;
  }

  /** The operation succeeded: nothing is undone. */
  commit(): void {
    this.#undo.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const deadline = AbortSignal.timeout(UNDO_DEADLINE);
    for (const { name, undo } of this.#undo.reverse()) {
      try {
        await span(`undo ${name}`, {}, async () => undo(deadline));
      } catch (error) {
        this.#logger.error(
          { operation: this.#operation, step: name, error },
          `cannot undo "${name}" of ${this.#operation}: ${messageOf(error)}; going on`,
        );
      }
    }
    this.#undo.length = 0;
  }
}
