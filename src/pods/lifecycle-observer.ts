import type { RuntimeConfig } from '../oci/spec/index.ts';
import type { ContainerResources } from './config.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';

/** A container that is about to be created: its config.json is complete, but not written. */
export interface ContainerProposal {
  sandbox: SandboxRecord;
  container: ContainerRecord;
  spec: RuntimeConfig;
}

/** What is to become of it. */
export interface AdjustedContainer {
  /** Its limits and its oom_score_adj aside, which are worked out from `resources`. */
  spec: RuntimeConfig;
  /** Limits that are to differ; undefined values stay. */
  resources: Partial<ContainerResources>;
  /** Names of CDI devices that come in addition. */
  cdiDevices: readonly string[];
}

/** New limits of a pod as a whole. */
export interface SandboxChanges {
  resources: ContainerResources | undefined;
  overhead: ContainerResources | undefined;
}

/**
 * Who is told of what happens to pods, and may have a say in it. Calls for one object come
 * in the order in which things happen to it. Where it says "may refuse", a rejection makes
 * the operation fail and undoes it; elsewhere calls must not reject. A call that is made
 * while an object is locked must not wait for a lock of pods, except while a container is
 * made: nobody who holds a lock waits for that one.
 */
export interface LifecycleObserver {
  /** The sandbox has its namespaces and its network and is not ready yet. May refuse. */
  sandboxStarting(sandbox: SandboxRecord): Promise<void>;
  /** May refuse. */
  sandboxUpdating(sandbox: SandboxRecord, changes: SandboxChanges): Promise<void>;
  sandboxUpdated(sandbox: SandboxRecord): Promise<void>;
  /** All of its containers have ended. Told again when stopping is tried again. */
  sandboxStopping(sandbox: SandboxRecord): Promise<void>;
  /** Told again when removing is tried again. */
  sandboxRemoving(sandbox: SandboxRecord): Promise<void>;
  /** May refuse, and say what the container is to be; undefined: as proposed. It is locked. */
  containerCreating(proposal: ContainerProposal): Promise<AdjustedContainer | undefined>;
  containerCreated(container: ContainerRecord): Promise<void>;
  /** A creation that was told of has failed. */
  containerUndone(container: ContainerRecord): Promise<void>;
  /** May refuse. The container is locked. */
  containerStarting(container: ContainerRecord): Promise<void>;
  containerStarted(container: ContainerRecord): Promise<void>;
  /** May refuse, and say what the new limits are to be. Nothing is locked. */
  containerUpdating(
    container: ContainerRecord,
    changes: ContainerResources,
  ): Promise<ContainerResources>;
  containerUpdated(container: ContainerRecord): Promise<void>;
  /** The container ended, for whatever reason. It may be locked. */
  containerStopped(container: ContainerRecord): Promise<void>;
  /** Told again when removing is tried again. The container is locked. */
  containerRemoving(container: ContainerRecord): Promise<void>;
}
