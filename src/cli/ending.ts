import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ifExists, KeelsonError } from '../base/index.ts';
import {
  ContainerState,
  type ContainerStatus,
  PodSandboxState,
  RuntimeServiceService,
} from '../gen/runtime/v1/api.ts';
import type { CriClient } from './cri-client.ts';
import { logDirectoryOfRun } from './run-config.ts';
import { containerStatus, podStatus } from './status.ts';

/** Fails with NOT_FOUND for a container that is not there, where CRI would be content. */
export async function stopContainer(cri: CriClient, id: string, grace: number): Promise<void> {
  await containerStatus(cri, id);
  await cri.call(
    RuntimeServiceService.stopContainer,
    { containerId: id, timeout: BigInt(grace) },
    { action: `Cannot stop container "${id}"`, timeout: grace * 1000 + cri.timeout },
  );
}

export interface RemoveContainerOptions {
  /** Also a running one. */
  force: boolean;
  /** Leave the log file and its rotations where they are. */
  keepLogs: boolean;
}

/** Removes a container, and its logs if they are on this host. */
export async function removeContainer(
  cri: CriClient,
  id: string,
  { force, keepLogs }: RemoveContainerOptions,
): Promise<void> {
  const { status } = await containerStatus(cri, id);
  if (status?.state === ContainerState.CONTAINER_RUNNING) {
    if (!force) throw stillRunning('container', id);
    await stopContainer(cri, id, 0);
  }
  const action = `Cannot remove container "${id}"`;
  await cri.call(RuntimeServiceService.removeContainer, { containerId: id }, { action });
  if (!keepLogs && cri.local && status !== undefined) await removeLogs(status);
}

async function removeLogs({ logPath }: ContainerStatus): Promise<void> {
  if (logPath === '') return;
  const directory = dirname(logPath);
  const rotated = `${basename(logPath)}.`;
  const names = (await ifExists(readdir(directory))) ?? [];
  for (const name of names.filter((name) => name.startsWith(rotated))) {
    await rm(join(directory, name), { force: true });
  }
  await rm(logPath, { force: true });
}

/** Fails with NOT_FOUND for a pod that is not there, where CRI would be content. */
export async function stopPod(cri: CriClient, id: string): Promise<void> {
  await podStatus(cri, id);
  const action = `Cannot stop pod "${id}"`;
  await cri.call(RuntimeServiceService.stopPodSandbox, { podSandboxId: id }, { action });
}

/** Removes a pod with its containers, and the logs of one that `keelson run` made. */
export async function removePod(cri: CriClient, id: string, force: boolean): Promise<void> {
  const { status } = await podStatus(cri, id);
  if (status?.state === PodSandboxState.SANDBOX_READY) {
    if (!force) throw stillRunning('pod', id);
    await stopPod(cri, id);
  }
  const action = `Cannot remove pod "${id}"`;
  await cri.call(RuntimeServiceService.removePodSandbox, { podSandboxId: id }, { action });
  const logs = status === undefined ? undefined : logDirectoryOfRun(status);
  if (cri.local && logs !== undefined) await rm(logs, { recursive: true, force: true });
}

function stillRunning(what: string, id: string): KeelsonError {
  return new KeelsonError('FAILED_PRECONDITION', `Cannot remove ${what} "${id}"`, {
    reason: 'it is running',
    hint: 'stop it first, or use --force',
  });
}
