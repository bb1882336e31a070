import type { ProcessId } from '../linux/index.ts';
import type { ContainerConfig, SandboxConfig } from './config.ts';

/**
 * What is known of a sandbox, on disk as in memory. The record is written before the
 * first side effect and removed after the last one is undone.
 *
 *     creating ──> ready ──> stopped
 *         └──────────────────> (removed)
 *
 * `creating` is seen by nobody but recovery, which undoes it.
 */
export interface SandboxRecord {
  id: string;
  config: SandboxConfig;
  handler: string;
  /** Unix time in nanoseconds, as decimal digits: JSON has no such number. */
  createdAt: string;
  state: SandboxState;
  /** Pinned namespaces; one that is not named is the host's. */
  namespaces: { user?: string; net?: string; ipc?: string; uts?: string; pid?: string };
  /** The SELinux level that is this pod's alone; undefined without SELinux. */
  selinuxLevel: string | undefined;
  /** The cgroup below which the containers' lie, in the runtime's notation. */
  cgroupParent: string;
  /** Cgroup directories that were made for this pod and go with it. */
  cgroupDirectories: string[];
  /** Keeps a shared PID namespace alive. */
  init: ProcessId | undefined;
  /** Pod addresses, the primary one first; none on the host network. */
  ips: string[];
}

export type SandboxState =
  | { phase: 'creating' }
  | { phase: 'ready' }
  | { phase: 'stopped'; networkReleased: boolean };

/**
 * What is known of a container.
 *
 *     creating ──> created ──> running ──> exited
 *         │           └───────────────────> exited (stopped before it was started)
 *         └──> (removed)
 */
export interface ContainerRecord {
  id: string;
  sandboxId: string;
  config: ContainerConfig;
  handler: string;
  createdAt: string;
  state: ContainerState;
  /** `sha256:…` of the image's configuration. */
  imageId: string;
  /** A digest reference of the image, or its id when it has none. */
  imageRef: string;
  /** Ids of the image layers that the root filesystem and image volumes stand on. */
  layers: string[];
  /** Absolute; undefined for no log. */
  logPath: string | undefined;
  user: { uid: number; gid: number; supplementalGroups: number[] };
  stopSignal: string;
  cgroupsPath: string;
  /** Made from a checkpoint: its processes come back when it is started. */
  restored?: boolean;
}

export type ContainerState =
  | { phase: 'creating' }
  | { phase: 'created'; process: ProcessId }
  | { phase: 'running'; process: ProcessId; startedAt: string }
  | {
      phase: 'exited';
      /** '0' if it never started. */
      startedAt: string;
      finishedAt: string;
      exitCode: number;
      reason: string;
      message: string;
    };

/** Nanoseconds since 1970, as the records keep them; the clock is read in milliseconds. */
export function now(): string {
  return String(BigInt(Date.now()) * 1_000_000n);
}

/** The name by which kubelets reserve a sandbox: one pod has one sandbox per attempt. */
export function sandboxName({ metadata }: SandboxConfig): string {
  return [metadata.name, metadata.namespace, metadata.uid, metadata.attempt].join('_');
}

/** The name of a container, unique among those of its sandbox. */
export function containerName(sandboxId: string, { metadata }: ContainerConfig): string {
  return [metadata.name, sandboxId, metadata.attempt].join('_');
}
