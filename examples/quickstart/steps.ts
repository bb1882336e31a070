/** Tells on stdout what is being done, and how long each part took. */
export class Steps {
  readonly #times: { what: string; milliseconds: number }[] = [];
  readonly #colour = process.stdout.isTTY;

  /** No step begins after it has aborted. */
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  /** Does one step; `tell` makes the lines that are shown when it is done. */
  run<T>(what: string, work: () => Promise<T>, tell?: (result: T) => string): Promise<T> {
    this.signal.throwIfAborted();
    return this.always(what, work, tell);
  }

  /** The same for steps that clean up. */
  async always<T>(what: string, work: () => Promise<T>, tell?: (result: T) => string): Promise<T> {
    const start = performance.now();
    try {
      const result = await work();
      const milliseconds = performance.now() - start;
      this.#times.push({ what, milliseconds });
      const line = `${this.#paint(32, '✔')} ${what.padEnd(48)}${duration(milliseconds)}`;
      console.log(line);
      if (tell !== undefined) this.say(tell(result));
      return result;
    } catch (error) {
      console.log(`${this.#paint(31, '✘')} ${what}`);
      throw error;
    }
  }

  /** Text below a step. */
  say(text: string): void {
    for (const line of text.trimEnd().split('\n')) console.log(`    ${this.#paint(2, line)}`);
  }

  /** Milliseconds of the named steps together. */
  sum(...names: string[]): string {
    const chosen = this.#times.filter(({ what }) => names.includes(what));
    return duration(chosen.reduce((sum, { milliseconds }) => sum + milliseconds, 0)).trim();
  }

  #paint(code: number, text: string): string {
    return this.#colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

function duration(milliseconds: number): string {
  const text =
    milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  return text.padStart(8);
}
