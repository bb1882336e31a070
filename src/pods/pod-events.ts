import { KeelsonError } from '../base/index.ts';
import type { RecordChange, RecordStore } from './record-store.ts';
import { type ContainerRecord, now, type SandboxRecord } from './records.ts';

export type PodEventType = 'created' | 'started' | 'stopped' | 'deleted';

/** A change of state, with the whole pod as it was right after. Records never change: they are replaced. */
export interface PodEvent {
  type: PodEventType;
  /** The container's id, or the sandbox's for an event of the sandbox. */
  id: string;
  /** Unix time in nanoseconds, as decimal digits. */
  at: string;
  sandbox: SandboxRecord | undefined;
  containers: ContainerRecord[];
}

/** Events that may wait for a subscriber before it is given up. */
const QUEUE_LIMIT = 4096;

/**
 * Tells subscribers of each change of state, once and in order. Events are derived from
 * the records themselves, so none can be forgotten.
 */
export class PodEvents {
  readonly #sandboxes: RecordStore<SandboxRecord>;
  readonly #containers: RecordStore<ContainerRecord>;
  readonly #subscribers = new Set<Subscription>();

  constructor(sandboxes: RecordStore<SandboxRecord>, containers: RecordStore<ContainerRecord>) {
    this.#sandboxes = sandboxes;
    this.#containers = containers;
    sandboxes.onChange((change) => {
      for (const type of sandboxEvents(change)) {
        this.#publish(type, change.record.id, change.record);
      }
    });
    containers.onChange((change) => {
      const type = containerEvent(change);
      const sandbox = this.#sandboxes.find(change.record.sandboxId);
      if (type !== undefined) this.#publish(type, change.record.id, sandbox);
    });
  }

  /**
   * All events from now on, until the signal aborts. Fails with RESOURCE_EXHAUSTED when
   * they are taken too slowly.
   */
  async *subscribe(signal: AbortSignal): AsyncGenerator<PodEvent> {
    const subscription = new Subscription(signal);
    this.#subscribers.add(subscription);
    try {
      for (;;) {
        const event = await subscription.next();
        if (event === undefined) return;
        yield event;
      }
    } finally {
      this.#subscribers.delete(subscription);
    }
  }

  #publish(type: PodEventType, id: string, sandbox: SandboxRecord | undefined): void {
    if (this.#subscribers.size === 0) return;
    const containers = this.#containers
      .list()
      .filter(({ sandboxId, state }) => sandboxId === sandbox?.id && state.phase !== 'creating');
    const event: PodEvent = { type, id, at: now(), sandbox, containers };
    for (const subscriber of this.#subscribers) subscriber.push(event);
  }
}

class Subscription {
  readonly #queue: PodEvent[] = [];
  readonly #signal: AbortSignal;
  #wake: () => void = () => {};
  #overrun = false;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  push(event: PodEvent): void {
    if (this.#queue.length < QUEUE_LIMIT) this.#queue.push(event);
    else this.#overrun = true;
    this.#wake();
  }

  /** The next event; undefined when the signal has aborted. */
  async next(): Promise<PodEvent | undefined> {
    while (!this.#signal.aborted) {
      if (this.#overrun) {
        throw new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot deliver all events', {
          reason: `the subscriber left ${QUEUE_LIMIT} of them waiting`,
          hint: 'list what there is and subscribe again',
        });
      }
      const event = this.#queue.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return undefined;
  }
}

function sandboxEvents({ before, after }: RecordChange<SandboxRecord>): PodEventType[] {
  const [was, is] = [before?.state.phase, after?.state.phase];
  if (was === is) return [];
  if (is === 'ready') return ['created', 'started'];
  if (is === 'stopped') return ['stopped'];
  return is === undefined && was !== 'creating' ? ['deleted'] : [];
}

function containerEvent({
  before,
  after,
}: RecordChange<ContainerRecord>): PodEventType | undefined {
  const [was, is] = [before?.state.phase, after?.state.phase];
  if (was === is || is === 'creating') return undefined;
  if (is === 'created') return 'created';
  if (is === 'running') return 'started';
  if (is === 'exited') return 'stopped';
  return was === 'creating' ? undefined : 'deleted';
}
