import { keyOf, type Ref } from '../objects/index.ts';

/** What happened with an object, for people. Not kept over a restart. */
export interface VolumeEvent {
  readonly time: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly count: number;
}

/** Events kept for one object, and objects that have any. */
const MOST_EVENTS = 20;
const MOST_OBJECTS = 2000;

/** The last events of each object. One that repeats is counted. */
export class Events {
  readonly #events = new Map<string, VolumeEvent[]>();

  add(ref: Ref, type: VolumeEvent['type'], reason: string, message: string): void {
    const key = keyOf(ref);
    const events = this.#events.get(key) ?? [];
    const same = events.findIndex((each) => each.reason === reason && each.message === message);
    const count = same < 0 ? 1 : (events.splice(same, 1)[0]?.count ?? 0) + 1;
    events.push({ time: new Date().toISOString(), type, reason, message, count });
    this.#events.delete(key);
    this.#events.set(key, events.slice(-MOST_EVENTS));
    const [oldest] = this.#events.keys();
    if (this.#events.size > MOST_OBJECTS && oldest !== undefined) this.#events.delete(oldest);
  }

  of(ref: Ref): readonly VolumeEvent[] {
    return this.#events.get(keyOf(ref)) ?? [];
  }
}
