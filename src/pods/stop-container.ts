import { codeOf, KeelsonError, NEVER, Steps, withTimeout } from '../base/index.ts';
import {
  isAlive,
  killCgroup,
  type ProcessId,
  signalNumber,
  signalProcess,
} from '../linux/index.ts';
import { cgroupDirectoryOf } from './cgroup-paths.ts';
import type { Pods } from './pods.ts';
import { isLive, recordLostExit } from './record-exit.ts';
import type { ContainerRecord } from './records.ts';

/** How long a process may take to vanish after SIGKILL, in milliseconds, before more is done. */
const KILL_PATIENCE = 10_000;

/**
 * Stops a container: its stop signal, `timeout` seconds to end, then SIGKILL to it, then
 * to all in its cgroup. One that does not run is left alone. Of calls at the same time the
 * first signals, each waits on its own, and the shortest timeout wins.
 */
export async function stopContainer(
  pods: Pods,
  id: string,
  timeout: number,
  signal: AbortSignal,
): Promise<void> {
  const container = pods.containers.find(id);
  if (container === undefined || !isLive(container)) return;
  await using steps = new Steps('stop-container', pods.logger.child({ containerId: container.id }));
  if (timeout > 0 && container.state.phase === 'running') {
    await steps.run('send stop signal', () => sendStopSignal(pods, container, signal));
    const ended = await steps.run('wait', () =>
      exitsWithin(pods, container.id, timeout * 1000, signal),
    );
    if (ended) return;
  }
  await steps.run('kill', () => sendSignal(pods, container, 'SIGKILL', signal));
  if (await exitsWithin(pods, container.id, KILL_PATIENCE, signal)) return;
  await steps.run('kill cgroup', () =>
    killCgroup(pods.host.cgroups, cgroupDirectoryOf(container.cgroupsPath)),
  );
  if (await exitsWithin(pods, container.id, KILL_PATIENCE, signal)) return;
  await settle(pods, container.id);
}

/**
 * The same for one that was started. One that never was stays as it is: it can still be
 * started, or removed.
 */
export async function stopStarted(
  pods: Pods,
  idOrPrefix: string,
  timeout: number,
  signal: AbortSignal,
): Promise<void> {
  const container = pods.containers.find(idOrPrefix);
  if (container?.state.phase === 'created') {
    // Whose start is under way is to be stopped once it runs.
    using _held = await pods.locks.acquire(container.id, signal);
  }
  if (pods.containers.find(idOrPrefix)?.state.phase === 'running') {
    await stopContainer(pods, idOrPrefix, timeout, signal);
  }
}

/** Waits for a container's exit to be recorded; answers false when it takes longer. */
async function exitsWithin(
  pods: Pods,
  id: string,
  milliseconds: number,
  signal: AbortSignal,
): Promise<boolean> {
  const container = pods.containers.find(id);
  if (container === undefined || !isLive(container)) return true;
  try {
    await pods.exits.wait(id, withTimeout(signal, milliseconds));
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (codeOf(error) === 'DEADLINE_EXCEEDED') return false;
    throw error;
  }
}

/** Sends the stop signal once, however many calls want the container stopped. */
async function sendStopSignal(
  pods: Pods,
  container: ContainerRecord,
  signal: AbortSignal,
): Promise<void> {
  if (pods.signalled.has(container.id)) return;
  pods.signalled.add(container.id);
  await sendSignal(pods, container, container.stopSignal, signal);
}

/** Sends a signal to the first process: directly where the host sees it, else by the runtime. */
async function sendSignal(
  pods: Pods,
  container: ContainerRecord,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const runtime = pods.runtimes.find(container.handler);
  const process = processOf(container);
  if (process === undefined) return;
  // Of a container in a sandbox the host sees only a stand-in, which waits for its start or end.
  if (runtime?.needsSandbox && container.state.phase === 'running') {
    await runtime.kill(container.id, name, signal);
  } else signalProcess(process, signalNumber(name));
}

function processOf({ state }: ContainerRecord): ProcessId | undefined {
  return state.phase === 'created' || state.phase === 'running' ? state.process : undefined;
}

/** SIGKILL was sent and nothing was heard: the monitor is dead, or the process cannot die. */
async function settle(pods: Pods, id: string): Promise<void> {
  using _held = await pods.locks.acquire(id, NEVER);
  const container = pods.containers.find(id);
  const process = container === undefined ? undefined : processOf(container);
  if (container === undefined || process === undefined) return;
  if (isAlive(process)) {
    throw new KeelsonError('DEADLINE_EXCEEDED', `Cannot stop container "${id}"`, {
      reason: `process ${process.pid} does not end after SIGKILL`,
      hint: `look at /proc/${process.pid}/stack: it may wait for a disk or a network file system`,
    });
  }
  await recordLostExit(pods, container);
}
