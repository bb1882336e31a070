import { randomBytes } from 'node:crypto';
import { KeelsonError } from '../base/index.ts';

const TOKEN_BYTES = 16;

interface Entry<T> {
  readonly value: T;
  /** In the milliseconds of the monotonic clock. */
  readonly expires: number;
}

/**
 * Unguessable names for what a client may do once, soon: 128 random bits, used at most
 * once, bounded in number and in time.
 */
export class TokenTable<T> {
  readonly #limit: number;
  readonly #lifetime: number;
  readonly #now: () => number;
  /** In the order of their expiry, because all live equally long. */
  readonly #entries = new Map<string, Entry<T>>();

  constructor(limit: number, lifetime: number, now: () => number = () => performance.now()) {
    this.#limit = limit;
    this.#lifetime = lifetime;
    this.#now = now;
  }

  /** Throws RESOURCE_EXHAUSTED when too many tokens are unused. */
  issue(value: T): string {
    this.#dropExpired();
    if (this.#entries.size >= this.#limit) {
      throw new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot issue a streaming URL', {
        reason: `${this.#limit} URLs wait for their client`,
        hint: `each expires after ${this.#lifetime / 1000} s`,
      });
    }
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    this.#entries.set(token, { value, expires: this.#now() + this.#lifetime });
    return token;
  }

  /** What a token stands for, undefined if it is unknown, used or expired. */
  find(token: string): T | undefined {
    this.#dropExpired();
    return this.#entries.get(token)?.value;
  }

  /** As `find`, and the token is used up. */
  redeem(token: string): T | undefined {
    const value = this.find(token);
    this.#entries.delete(token);
    return value;
  }

  clear(): void {
    this.#entries.clear();
  }

  #dropExpired(): void {
    const now = this.#now();
    for (const [token, entry] of this.#entries) {
      if (entry.expires > now) return;
      this.#entries.delete(token);
    }
  }
}
