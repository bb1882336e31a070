import { KeelsonError } from '../base/index.ts';

/** Aborts a session when nothing has happened for too long. */
export class IdleTimer implements Disposable {
  readonly #timer: NodeJS.Timeout;

  constructor(milliseconds: number, session: AbortController) {
    this.#timer = setTimeout(() => {
      const reason = `nothing was sent or received for ${milliseconds / 1000} s`;
      session.abort(new KeelsonError('DEADLINE_EXCEEDED', 'Session ended', { reason }));
    }, milliseconds).unref();
  }

  /** Something happened. */
  touch(): void {
    this.#timer.refresh();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
