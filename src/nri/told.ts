/**
 * What plugins have been told of objects that come or go right now, or would have been if
 * there had been any: a plugin that joins must neither miss an object nor hear of one that
 * is gone. Objects that are there are in the records.
 */
export class Told {
  readonly #begun = new Set<string>();
  readonly #stopped = new Set<string>();
  readonly #ended = new Set<string>();

  begin(id: string): void {
    this.#begun.add(id);
  }

  /** Answers false if that was told already. */
  stop(id: string): boolean {
    if (this.#stopped.has(id)) return false;
    this.#stopped.add(id);
    return true;
  }

  /** Answers false if that was told already. */
  end(id: string): boolean {
    if (this.#ended.has(id)) return false;
    this.#ended.add(id);
    return true;
  }

  hasBegun(id: string): boolean {
    return this.#begun.has(id);
  }

  hasEnded(id: string): boolean {
    return this.#ended.has(id);
  }

  /** The object's record is removed: nobody will ask about it any more. */
  forget(id: string): void {
    this.#begun.delete(id);
    this.#stopped.delete(id);
    this.#ended.delete(id);
  }
}
