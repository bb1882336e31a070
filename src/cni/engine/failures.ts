import { codeOf, KeelsonError, messageOf } from '../../base/index.ts';

/** Errors of several attempts, of which none keeps the next from being made. */
export class Failures {
  readonly #errors: unknown[] = [];

  /** Answers whether the attempt succeeded. */
  async gather(attempt: () => Promise<unknown>): Promise<boolean> {
    try {
      await attempt();
      return true;
    } catch (error) {
      this.#errors.push(error);
      return false;
    }
  }

  /** One error for all, with the first one's code and as its cause. */
  throwIfAny(action: string): void {
    if (this.#errors.length === 0) return;
    const [cause] = this.#errors;
    throw new KeelsonError(codeOf(cause), action, {
      reason: this.#errors.map(messageOf).join('; '),
      cause,
    });
  }
}
