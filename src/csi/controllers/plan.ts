import { refOf, type Stored } from '../objects/index.ts';
import type { ObjectStore } from '../store/index.ts';

/** What a planner wants done: one write, or nothing but to tell why it waits. */
export type Plan =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly reason: string; readonly message: string }
  | { readonly do: 'write'; readonly object: Stored };

export const NOTHING: Plan = { do: 'nothing' };

export function wait(reason: string, message: string): Plan {
  return { do: 'wait', reason, message };
}

export function write(object: Stored): Plan {
  return { do: 'write', object };
}

/**
 * Writes a planned object unless someone changed it since it was looked at: then its
 * change has brought up a plan of its own.
 */
export async function writePlanned(store: ObjectStore, planned: Stored): Promise<void> {
  const { resourceVersion } = planned.metadata;
  await store.changeIfThere(refOf(planned), (current) =>
    current.metadata.resourceVersion === resourceVersion ? planned : current,
  );
}
