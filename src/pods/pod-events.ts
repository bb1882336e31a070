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

/** Events that may wait for a subscriber before it is dropped. */
const QUEUE_LIMIT = 4096;

/**
 * Tells subscribers of each change of state, once and in order. Events are derived from
 * the records themselves, so none can be forgotten.
 */
export class PodEvents {
  readonly #sandboxes: RecordStore<SandboxRecord>;
  readonly #containers: RecordStore<ContainerRecord>;
  readonly #subscribers = new Set<Subscription>();
  readonly #queueLimit: number;

  constructor(
    sandboxes: RecordStore<SandboxRecord>,
    containers: RecordStore<ContainerRecord>,
    queueLimit = QUEUE_LIMIT,
  ) {
    this.#sandboxes = sandboxes;
    this.#containers = containers;
    this.#queueLimit = queueLimit;
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
   * All events from the first `next()` on, until the signal aborts. When they are taken too
   * slowly those that wait are forgotten, `onDrop` is told at once, and the next one asked for
   * fails with the same error, RESOURCE_EXHAUSTED.
   */
  async *subscribe(
    signal: AbortSignal,
    onDrop: (error: KeelsonError) => void = () => {},
  ): AsyncGenerator<PodEvent> {
    const subscription: Subscription = new Subscription(signal, this.#queueLimit, (error) => {
      this.#subscribers.delete(subscription);
      onDrop(error);
    });
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
    const containers = createdContainers(this.#containers, sandbox?.id);
    const event: PodEvent = { type, id, at: now(), sandbox, containers };
    for (const subscriber of this.#subscribers) subscriber.push(event);
  }
}

/** The containers of a sandbox, without those that are being created and may never be there. */
export function createdContainers(
  containers: RecordStore<ContainerRecord>,
  sandboxId: string | undefined,
): ContainerRecord[] {
  return containers
    .list()
    .filter((record) => record.sandboxId === sandboxId && record.state.phase !== 'creating');
}

class Subscription {
  #queue: PodEvent[] = [];
  readonly #signal: AbortSignal;
  readonly #limit: number;
  readonly #onDrop: (error: KeelsonError) => void;
  #wake: () => void = () => {};
  #dropped: KeelsonError | undefined;

  constructor(signal: AbortSignal, limit: number, onDrop: (error: KeelsonError) => void) {
    this.#signal = signal;
    this.#limit = limit;
    this.#onDrop = onDrop;
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  push(event: PodEvent): void {
    if (this.#queue.length < this.#limit) this.#queue.push(event);
    else this.#drop();
    this.#wake();
  }

  /** The next event; undefined when the signal has aborted. */
  async next(): Promise<PodEvent | undefined> {
    while (!this.#signal.aborted) {
      if (this.#dropped !== undefined) throw this.#dropped;
      const event = this.#queue.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return undefined;
  }

  #drop(): void {
    this.#queue = [];
    this.#dropped = new KeelsonError('RESOURCE_EXHAUSTED', 'Cannot deliver all events', {
      reason: `the subscriber left ${this.#limit} of them waiting`,
      hint: 'subscribe again, and then list what there is',
    });
    this.#onDrop(this.#dropped);
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
