import { watch } from 'node:fs';
import { access } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { abandonOn, ifExists, withTimeout } from '../base/index.ts';
import { checkLog } from './container-log.ts';
import { containerPaths } from './container-paths.ts';
import type { Pods } from './pods.ts';
import { runningContainer } from './running-container.ts';

/** How long a monitor may take to open its log again, in milliseconds. */
const REOPEN_DEADLINE = 10_000;

/**
 * Makes the monitor of a running container open its log's path again, after the file was
 * renamed, and waits until the new file is there.
 */
export async function reopenContainerLog(
  pods: Pods,
  idOrPrefix: string,
  signal: AbortSignal,
): Promise<void> {
  const container = runningContainer(pods, idOrPrefix, 'reopen the log of');
  const path = container.logPath;
  if (path === undefined) return;
  await checkLog(path, pods.sandboxes.get(container.sandboxId).config.logDirectory);
  const deadline = withTimeout(signal, REOPEN_DEADLINE);
  const { promise: appeared, resolve } = Promise.withResolvers<void>();
  using _watcher = disposable(
    watch(dirname(path), (_event, name) => {
      if (name === basename(path)) resolve();
    }),
  );
  await pods.conmon.reopenLog(containerPaths(pods, container.id).bundle);
  if ((await ifExists(access(path).then(() => true))) === true) return;
  await abandonOn(deadline, appeared);
}

function disposable(watcher: { close(): void }): Disposable {
  return { [Symbol.dispose]: () => watcher.close() };
}
