import { codeOf, messageOf } from '../../base/index.ts';
import { KINDS, type Kind, keyOf, type Ref, type Stored } from '../objects/index.ts';
import type { Change } from '../store/index.ts';
import type { DriverControllerParts } from './controller.ts';
import { Reconciler } from './reconciler.ts';

export interface DriverControllerOptions {
  readonly name: string;
  /** Why an object failed, as events call it. */
  readonly failure: string;
  /** The objects to look at again after a change; `undefined`: none. */
  concerns(change: Change): Iterable<Ref>;
  /** The objects to look at when the daemon starts, and when a driver comes or goes. */
  all(): Iterable<Stored>;
  reconcile(ref: Ref, signal: AbortSignal): Promise<void>;
}

/**
 * A controller that calls drivers: looks at objects when they or others that matter to them
 * change, and at all of them when drivers come and go. Its failures become events.
 */
export class DriverController implements AsyncDisposable {
  readonly #options: DriverControllerOptions;
  readonly #reconciler: Reconciler;
  readonly #parts = new DisposableStack();

  constructor(parts: DriverControllerParts, options: DriverControllerOptions) {
    this.#options = options;
    const { store, drivers, events, logger, backOff, workers } = parts;
    this.#reconciler = new Reconciler({
      name: options.name,
      logger,
      backOff,
      workers,
      reconcile: (key, signal) => options.reconcile(parseKey(key), signal),
      failed: (key, error) => {
        // That another call is under way is no news.
        if (codeOf(error) === 'ABORTED') return;
        events.add(parseKey(key), 'Warning', options.failure, messageOf(error));
      },
    });
    this.#parts.use(
      store.watch((change) => {
        for (const ref of options.concerns(change)) this.#reconciler.enqueue(keyOf(ref));
      }),
    );
    this.#parts.use(drivers.onChange(() => this.resync()));
    this.resync();
  }

  /** Looks at everything, and ends pauses after failures. */
  resync(): void {
    this.#reconciler.retryAll();
    for (const { kind, metadata } of this.#options.all()) {
      const namespace = 'namespace' in metadata ? metadata.namespace : undefined;
      this.#reconciler.enqueue(keyOf({ kind, name: metadata.name, namespace }));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts[Symbol.dispose]();
    await this.#reconciler[Symbol.asyncDispose]();
  }
}

/** The inverse of `keyOf`: names hold no slash. */
function parseKey(key: string): Ref {
  const [kind, ...rest] = key.split('/');
  const name = rest.pop() ?? '';
  return { kind: KINDS.find((each) => each === kind) as Kind, name, namespace: rest[0] };
}
