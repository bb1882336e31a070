import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { ifExists } from '../base/index.ts';
import { MONITOR_FILES } from '../oci/runtime/index.ts';
import { containerPaths } from './container-paths.ts';
import type { Exit } from './exits.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';

/** An exit that no monitor reported. */
export const LOST_EXIT = { exitCode: 255, reason: 'Unknown' } as const;

/** Notes in the record how a container ended, and wakes those who wait for it. */
export async function recordExit(pods: Pods, id: string, exit: Exit): Promise<void> {
  if (pods.sandboxes.find(id) !== undefined) {
    await recordInitExit(pods, id);
    return;
  }
  const { told } = await noteExit(pods, id, exit);
  await told;
  pods.signalled.delete(id);
  pods.exits.announce(id);
}

/**
 * Notes it while the container is locked, and tells of it before anybody else may do
 * something to the container. `told` is waited for without the lock.
 */
async function noteExit(
  pods: Pods,
  id: string,
  exit: Exit,
): Promise<{ told: Promise<void> | undefined }> {
  using _held = await pods.locks.acquire(id);
  const container = pods.containers.find(id);
  if (container === undefined || !isLive(container)) return { told: undefined };
  const reason = await reasonOf(pods, id, exit);
  const changes = exited(container, exit, { reason, message: '' });
  const ended = await pods.containers.update(container, changes);
  pods.logger.info({ containerId: id, exitCode: exit.exitCode, reason }, 'container exited');
  return { told: pods.observer?.containerStopped(ended) };
}

/** Notes that a container is gone without anybody knowing how it ended. */
export async function recordLostExit(pods: Pods, container: ContainerRecord): Promise<void> {
  const exit = {
    exitCode: LOST_EXIT.exitCode,
    finishedAt: String(BigInt(Date.now()) * 1_000_000n),
  };
  const ended = await pods.containers.update(
    container,
    exited(container, exit, {
      reason: LOST_EXIT.reason,
      message: 'the process is gone and its monitor reported no exit code',
    }),
  );
  pods.logger.warn({ containerId: container.id }, 'a container is gone without an exit code');
  await pods.observer?.containerStopped(ended);
  pods.exits.announce(container.id);
}

export function isLive({ state }: ContainerRecord): boolean {
  return state.phase === 'created' || state.phase === 'running';
}

/** The first process of a shared PID namespace ended: nothing in the pod can run any more. */
async function recordInitExit(pods: Pods, id: string): Promise<void> {
  using _held = await pods.locks.acquire(id);
  const sandbox = pods.sandboxes.find(id);
  if (sandbox?.state.phase !== 'ready') return;
  await pods.sandboxes.update(sandbox, {
    state: { phase: 'stopped', networkReleased: false },
    init: undefined,
  });
  pods.logger.warn({ podId: id }, 'the init process of a pod ended: the pod is not ready any more');
}

function exited(
  container: ContainerRecord,
  exit: Exit,
  why: { reason: string; message: string },
): Pick<ContainerRecord, 'state'> {
  const { state } = container;
  const startedAt = state.phase === 'running' ? state.startedAt : '0';
  return {
    state: {
      phase: 'exited',
      startedAt,
      finishedAt: exit.finishedAt,
      exitCode: exit.exitCode,
      ...why,
    },
  };
}

async function reasonOf(pods: Pods, id: string, exit: Exit): Promise<string> {
  const oom = join(containerPaths(pods, id).bundle, MONITOR_FILES.oom);
  const killed = (await ifExists(access(oom).then(() => true))) ?? false;
  if (killed) return 'OOMKilled';
  return exit.exitCode === 0 ? 'Completed' : 'Error';
}
