import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists, messageOf, NEVER, withTimeout } from '../base/index.ts';
import { isAlive, listMounts, unmountAll } from '../linux/index.ts';
import { killMonitor, restoredProcess } from '../oci/runtime/index.ts';
import { endInterruptedCheckpoint } from './checkpoint-files.ts';
import { containerPaths, storageDirectory } from './container-paths.ts';
import { removeRootfs } from './container-rootfs.ts';
import { forget } from './create-container.ts';
import { deleteByRuntime } from './delete-by-runtime.ts';
import { finishRotation } from './finish-log-rotation.ts';
import { isRunning, settleExit } from './lost-exits.ts';
import type { Pods } from './pods.ts';
import { isLive } from './record-exit.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import { removeContainer } from './remove-container.ts';
import { detachNetwork, forgetSandbox } from './run-sandbox.ts';
import { SHM } from './sandbox-files.ts';
import { removeInit } from './sandbox-init.ts';
import { removeNamespaces } from './sandbox-namespaces.ts';
import { endUnreadable } from './unreadable-records.ts';

/** How long one object may take to repair, in milliseconds. */
const REPAIR_DEADLINE = 60_000;

/**
 * Makes the records and the kernel agree after a start: undoes what was half made, adopts
 * what lives, notes what died. What cannot be repaired is logged and left for the next
 * start; it never keeps the daemon from starting. Exits must be watched already.
 */
export async function recoverPods(pods: Pods): Promise<void> {
  for (const container of pods.containers.list()) {
    pods.images.holdLayers(container.id, container.layers);
  }
  await eachOf(pods, pods.containers.list(), finishRotation);
  await eachOf(pods, pods.containers.list(), repairContainer);
  await eachOf(pods, pods.sandboxes.list(), repairSandbox);
  await endUnreadable(pods, withTimeout(NEVER, REPAIR_DEADLINE));
  await removeStrayStorage(pods);
  await pods.network.collectGarbage(
    pods.sandboxes.list().map((sandbox) => ({ containerId: sandbox.id })),
    withTimeout(NEVER, REPAIR_DEADLINE),
  );
}

async function eachOf<T extends { id: string }>(
  pods: Pods,
  records: T[],
  repair: (pods: Pods, record: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await Promise.all(
    records.map(async (record) => {
      try {
        await repair(pods, record, withTimeout(NEVER, REPAIR_DEADLINE));
      } catch (error) {
        pods.logger.error(
          { id: record.id, error },
          `cannot repair after the restart: ${messageOf(error)}; the next start tries again`,
        );
      }
    }),
  );
}

async function repairContainer(
  pods: Pods,
  container: ContainerRecord,
  signal: AbortSignal,
): Promise<void> {
  if (container.state.phase === 'creating') {
    await undoCreation(pods, container, signal);
    return;
  }
  await endInterruptedCheckpoint(pods, container);
  if (pods.sandboxes.find(container.sandboxId) === undefined) {
    await removeContainer(pods, container.id, signal);
  } else if (isLive(container)) {
    await adopt(pods, container, signal);
  }
}

async function undoCreation(
  pods: Pods,
  container: ContainerRecord,
  signal: AbortSignal,
): Promise<void> {
  const paths = containerPaths(pods, container.id);
  await killMonitor(paths.bundle);
  await deleteByRuntime(pods, container, signal);
  await removeRootfs(paths);
  await forget(pods, container.id);
  pods.logger.info({ containerId: container.id }, 'undid a container that was half created');
}

async function adopt(pods: Pods, container: ContainerRecord, signal: AbortSignal): Promise<void> {
  if (isRunning(container)) await adoptStart(pods, container, signal);
  else await settleExit(pods, container, signal);
}

/** The daemon may have died between the runtime's start and the record of it. */
async function adoptStart(
  pods: Pods,
  container: ContainerRecord,
  signal: AbortSignal,
): Promise<void> {
  if (container.state.phase !== 'created') return;
  const state = await pods.runtimes.find(container.handler)?.state(container.id, signal);
  if (state?.status !== 'running') return;
  const { bundle } = containerPaths(pods, container.id);
  const process = container.restored ? await restoredProcess(bundle) : container.state.process;
  await pods.containers.update(container, {
    state: { phase: 'running', process, startedAt: String(BigInt(Date.now()) * 1_000_000n) },
  });
}

async function repairSandbox(
  pods: Pods,
  sandbox: SandboxRecord,
  signal: AbortSignal,
): Promise<void> {
  if (sandbox.state.phase === 'creating') {
    await removeInit(pods, sandbox, signal);
    await detachNetwork(pods, sandbox, signal);
    await removeNamespaces(sandbox.namespaces);
    unmountAll(join(pods.sandboxes.directoryOf(sandbox.id), SHM));
    await forgetSandbox(pods, sandbox);
    pods.logger.info({ podId: sandbox.id }, 'undid a pod sandbox that was half made');
  } else if (sandbox.state.phase === 'ready' && !isWhole(sandbox)) {
    await pods.sandboxes.update(sandbox, { state: { phase: 'stopped', networkReleased: false } });
    pods.logger.warn({ podId: sandbox.id }, 'a pod sandbox lost its namespaces: it is not ready');
  }
}

/** Whether all namespaces are still pinned and the init process, if there is one, lives. */
function isWhole(sandbox: SandboxRecord): boolean {
  const mounted = new Set(listMounts().map((mount) => mount.target));
  return (
    Object.values(sandbox.namespaces).every((path) => existsSync(path) && mounted.has(path)) &&
    (sandbox.init === undefined || isAlive(sandbox.init))
  );
}

/** Writable layers without a record: of another boot, or of a removal that was cut short. */
async function removeStrayStorage(pods: Pods): Promise<void> {
  const directory = storageDirectory(pods);
  for (const id of (await ifExists(readdir(directory))) ?? []) {
    if (pods.containers.find(id) === undefined) {
      await rm(join(directory, id), { recursive: true, force: true });
    }
  }
}
