import { during, type Logger, messageOf, Semaphore } from '../base/index.ts';
import type { Plugin } from './plugin.ts';
import type { EventRpc, Subject } from './rpcs.ts';

/**
 * The plugins that take part, in the order of their names. One event at a time goes
 * through them: plugins see the same order, and the next is asked when one has answered.
 */
export class Plugins {
  readonly #logger: Logger;
  readonly #turn = new Semaphore(1);
  #members: readonly Plugin[] = [];
  #joining = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get members(): readonly Plugin[] {
    return this.#members;
  }

  includes(plugin: Plugin): boolean {
    return this.#members.includes(plugin);
  }

  /**
   * Does `mark`, and when it is this event's turn, `ask`. Without any plugin this is all
   * done when the call returns.
   */
  async inTurn<T>(mark: () => boolean, ask: () => Promise<T>): Promise<T | undefined> {
    if (this.#members.length === 0 && this.#joining === 0) {
      mark();
      return undefined;
    }
    using _turn = await this.#turn.acquire();
    // Awaited here: the turn is over when all have answered.
    return mark() ? await ask() : undefined;
  }

  /** Lets a plugin in once `prepare` is done; events that happen meanwhile wait for that. */
  async join<T>(plugin: Plugin, prepare: () => Promise<T>): Promise<T> {
    this.#joining++;
    try {
      using _turn = await this.#turn.acquire();
      const prepared = await prepare();
      this.#members = [...this.#members, plugin].sort((a, b) => (a.name < b.name ? -1 : 1));
      void plugin.closed.then(() => this.#leave(plugin));
      return prepared;
    } finally {
      this.#joining--;
    }
  }

  #leave(plugin: Plugin): void {
    this.#members = this.#members.filter((member) => member !== plugin);
  }

  /** Whether anybody cares. */
  wants({ event }: { event: EventRpc<never, unknown>['event'] }): boolean {
    return this.#members.some((plugin) => plugin.wants(event));
  }

  /**
   * Asks all plugins in turn. The first refusal ends it: it fails with the plugin's code.
   * One that is disconnected over the question has no say.
   */
  async consult<Request extends Subject, Response>(
    rpc: EventRpc<Request, Response>,
    requestFor: () => Request,
    take: (answer: Response, plugin: Plugin) => void = () => {},
  ): Promise<void> {
    for (const plugin of this.#members) {
      if (!plugin.wants(rpc.event)) continue;
      const request = requestFor();
      const answer = await plugin.ask(rpc, request).catch((error: unknown) => {
        if (!plugin.connected) return undefined;
        throw during(`NRI plugin "${plugin.name}" refuses ${rpc.method}`, error);
      });
      if (answer !== undefined) take(answer, plugin);
    }
  }

  /**
   * Asks those that judge. All of them must be content: it fails too if one of them fails
   * to answer.
   */
  async judge<Request extends Subject, Response>(
    rpc: EventRpc<Request, Response>,
    request: Request,
    take: (answer: Response, plugin: Plugin) => void,
  ): Promise<void> {
    for (const plugin of this.#members) {
      const answer = await plugin.ask(rpc, request).catch((error: unknown) => {
        throw during(`NRI plugin "${plugin.name}" cannot judge the container`, error);
      });
      if (answer !== undefined) take(answer, plugin);
    }
  }

  /** Tells all plugins; what one of them says against it is logged. */
  async inform<Request extends Subject, Response>(
    rpc: EventRpc<Request, Response>,
    request: Request,
    take: (answer: Response, plugin: Plugin) => void = () => {},
  ): Promise<void> {
    for (const plugin of this.#members) {
      try {
        const answer = await plugin.ask(rpc, request);
        if (answer !== undefined) take(answer, plugin);
      } catch (error) {
        if (!plugin.connected) continue;
        this.#logger.error(
          { plugin: plugin.name, error },
          `an NRI plugin failed at ${rpc.method}: ${messageOf(error)}`,
        );
      }
    }
  }
}

/** Does what a plugin wants; what fails is said to be its wish. */
export function heed(name: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw during(`Cannot do what NRI plugin "${name}" wants`, error);
  }
}
