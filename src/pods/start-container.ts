import { KeelsonError, messageOf, NEVER, Steps } from '../base/index.ts';
import type { ProcessId } from '../linux/index.ts';
import { restoredProcess, startByStandIn } from '../oci/runtime/index.ts';
import { containerPaths } from './container-paths.ts';
import { removeMountsBelow } from './mapped-mounts.ts';
import type { Pods } from './pods.ts';
import { type ContainerRecord, now } from './records.ts';

/** Reason and code of a container whose process could not be started, as with containerd. */
const START_FAILED = { reason: 'StartError', exitCode: 128 } as const;

/** Starts a container that was created. Fails with FAILED_PRECONDITION in any other state. */
export async function startContainer(
  pods: Pods,
  idOrPrefix: string,
  signal: AbortSignal,
): Promise<void> {
  const { id } = pods.containers.get(idOrPrefix);
  using _held = await pods.locks.acquire(id, signal);
  const container = pods.containers.get(id);
  const { state } = container;
  const action = `Cannot start container "${id}"`;
  if (state.phase !== 'created') {
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: `it is ${state.phase}, not created`,
    });
  }
  if (pods.sandboxes.get(container.sandboxId).state.phase !== 'ready') {
    throw new KeelsonError('FAILED_PRECONDITION', action, {
      reason: `pod sandbox "${container.sandboxId}" is not ready`,
    });
  }
  await pods.observer?.containerStarting(container);
  await using steps = new Steps('start-container', pods.logger.child({ containerId: id }));
  try {
    const startedAt = now();
    // Not cancelled with the call: half a start would leave nobody knowing what runs.
    const process = await steps.run('start by runtime', () =>
      start(pods, container, state.process),
    );
    await steps.run('record start', () =>
      pods.containers.update(container, { state: { phase: 'running', process, startedAt } }),
    );
  } catch (error) {
    await recordFailure(pods, container, messageOf(error));
    throw error;
  }
  await pods.observer?.containerStarted(pods.containers.find(id) ?? container);
}

/** Answers the process that stands for the container from now on. */
async function start(
  pods: Pods,
  container: ContainerRecord,
  process: ProcessId,
): Promise<ProcessId> {
  const { id, restored } = container;
  if (!startsByStandIn(pods, container)) {
    await pods.runtimes.get(container.handler).start(id, NEVER);
    return process;
  }
  const { bundle, sources } = containerPaths(pods, id);
  await startByStandIn(bundle, { id, standIn: process });
  await removeMountsBelow(sources).catch((error) => {
    // It runs: what is left is in nobody's way and goes with the container.
    pods.logger.warn({ containerId: id, error }, `cannot remove mounts: ${messageOf(error)}`);
  });
  return restored ? restoredProcess(bundle) : process;
}

/** Whether a container comes to life, with its mounts, only when it is started. */
export function startsByStandIn(pods: Pods, { handler, restored }: ContainerRecord): boolean {
  return restored === true || pods.runtimes.get(handler).needsSandbox;
}

async function recordFailure(
  pods: Pods,
  container: ContainerRecord,
  message: string,
): Promise<void> {
  const failed = await pods.containers.update(container, {
    state: { phase: 'exited', startedAt: '0', finishedAt: now(), ...START_FAILED, message },
  });
  await pods.observer?.containerStopped(failed);
  pods.exits.announce(container.id);
}
