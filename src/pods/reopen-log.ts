import { watch } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { abandonOn, ifExists, KeelsonError, Steps, withTimeout } from '../base/index.ts';
import { isSameFile } from '../linux/index.ts';
import { MonitorLog } from '../oci/runtime/index.ts';
import { checkLog } from './container-log.ts';
import { containerPaths } from './container-paths.ts';
import { finishRotation } from './finish-log-rotation.ts';
import { keepOld, makeNext, type RotationFiles, rotationFiles } from './log-rotation.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';
import { runningContainer } from './running-container.ts';

/** How long a monitor may take to open its log again, in milliseconds. */
const REOPEN_DEADLINE = 10_000;

/**
 * Makes the monitor of a running container open its log's path again, after the file was
 * renamed, and waits until the new file is there. The lines of both files are whole: the rest
 * of one that was under way is moved to the old file before the new one appears. Only one
 * whose rest does not come soon is left in two records, the second in the new file, and any if
 * the log has a limit: then the monitor takes new files where it stands anyway. Nothing
 * happens if the file that is written is still at the path.
 */
export async function reopenContainerLog(
  pods: Pods,
  idOrPrefix: string,
  signal: AbortSignal,
): Promise<void> {
  const action = 'reopen the log of';
  const { id } = runningContainer(pods, idOrPrefix, action);
  using _held = await pods.locks.acquire(`log of ${id}`, signal);
  const container = runningContainer(pods, id, action);
  const path = container.logPath;
  if (path === undefined) return;
  const { logDirectory } = pods.sandboxes.get(container.sandboxId).config;
  await checkLog(path, logDirectory);
  const log = await MonitorLog.find(pods.conmon, containerPaths(pods, id).bundle);
  if (log === undefined) {
    // That is what the monitor opens, and then renames.
    await checkLog(`${path}.tmp`, logDirectory);
    return reopenWhereItStands(pods, id, path, signal);
  }
  await finishRotation(pods, container, signal);
  await rotate(pods, { container, files: rotationFiles(pods, id, path), log }, signal);
}

interface Rotation {
  container: ContainerRecord;
  files: RotationFiles;
  log: MonitorLog;
}

async function rotate(pods: Pods, rotation: Rotation, signal: AbortSignal): Promise<void> {
  const { container, files, log } = rotation;
  if (log.ended) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot reopen log "${files.path}"`, {
      reason: 'the container has ended',
    });
  }
  const left = await log.file();
  const current = await ifExists(stat(files.path));
  if (left !== undefined && current !== undefined && isSameFile(left.file, current)) return;
  await using steps = new Steps('reopen-log', pods.logger.child({ containerId: container.id }));
  try {
    await steps.run('keep old file', () => left && keepOld(files, left.file));
    await steps.run('make next file', () => makeNext(files));
    await steps.run('let monitor go on', () =>
      log.moveTo(files.next, withTimeout(signal, REOPEN_DEADLINE)),
    );
  } finally {
    await finishRotation(pods, container, signal);
  }
}

/** Of a monitor that opens the log by its own path. */
async function reopenWhereItStands(
  pods: Pods,
  id: string,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const deadline = withTimeout(signal, REOPEN_DEADLINE);
  const { promise: appeared, resolve } = Promise.withResolvers<void>();
  using _watcher = disposable(
    watch(dirname(path), (_event, name) => {
      if (name === basename(path)) resolve();
    }),
  );
  await pods.conmon.reopenLog(containerPaths(pods, id).bundle);
  if ((await ifExists(access(path).then(() => true))) === true) return;
  await abandonOn(deadline, appeared);
}

function disposable(watcher: { close(): void }): Disposable {
  return { [Symbol.dispose]: () => watcher.close() };
}
