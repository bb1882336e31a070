import type { Kind, Ref, Stored } from '../objects/index.ts';
import { keyOf, refOf } from '../objects/index.ts';
import type { ObjectStore } from '../store/index.ts';

/** Resolves as soon as an object is another than the one seen; rejects when the signal aborts. */
export function untilChanged<K extends Kind>(
  store: ObjectStore,
  ref: Ref<K>,
  seen: Stored<K> | undefined,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const isNew = () => {
      const now = store.find(ref);
      return now?.metadata.resourceVersion !== seen?.metadata.resourceVersion;
    };
    const end = (settle: () => void) => {
      watch[Symbol.dispose]();
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const key = keyOf(ref);
    const watch = store.watch(({ object }) => {
      if (keyOf(refOf(object)) === key && isNew()) end(resolve);
    });
    const onAbort = () => end(() => reject(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    else if (isNew()) end(resolve);
  });
}
