import { messageOf, NEVER, sleep } from '../base/index.ts';
import { isAlive } from '../linux/index.ts';
import type { Pods } from './pods.ts';
import { isLive, recordLostExit } from './record-exit.ts';
import type { ContainerRecord } from './records.ts';

/** Milliseconds between two looks. Exits are reported by monitors at once; this is for dead monitors. */
const INTERVAL = 5_000;

/** How long a monitor may take to write an exit code after its container is gone. */
const EXIT_FILE_PATIENCE = 1_000;

/** Notes containers whose monitor died before it could report their exit. */
export function watchForLostExits(pods: Pods): Disposable {
  const timer = setInterval(() => {
    for (const container of pods.containers.list()) {
      if (!isLive(container) || isRunning(container)) continue;
      settleExit(pods, container).catch((error: unknown) => {
        pods.logger.error({ containerId: container.id, error }, messageOf(error));
      });
    }
  }, INTERVAL).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Records the exit of a container whose process is gone: its monitor's word, or that there is none. */
export async function settleExit(
  pods: Pods,
  container: ContainerRecord,
  signal: AbortSignal = NEVER,
): Promise<void> {
  await sleep(EXIT_FILE_PATIENCE, signal);
  await pods.exits.scan();
  using _held = await pods.locks.acquire(container.id, signal);
  const current = pods.containers.find(container.id);
  if (current !== undefined && isLive(current)) await recordLostExit(pods, current);
}

/** Whether the first process of a container still exists. */
export function isRunning({ state }: ContainerRecord): boolean {
  return 'process' in state && isAlive(state.process);
}
