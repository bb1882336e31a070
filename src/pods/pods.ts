import type { Flights, KeyedLock, Logger } from '../base/index.ts';
import type { CniEngine } from '../cni/index.ts';
import type { CgroupLayout, CgroupMigrations } from '../linux/index.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { Conmon } from '../oci/runtime/index.ts';
import type { Exits } from './exits.ts';
import type { LifecycleObserver } from './lifecycle-observer.ts';
import type { OpenForwards } from './open-forwards.ts';
import type { PodEvents } from './pod-events.ts';
import type { RecordStore } from './record-store.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import type { Runtimes } from './runtimes.ts';
import type { SelinuxDefaults } from './selinux.ts';
import type { UserNamespaceSupport } from './user-namespace-support.ts';

/** What every operation on pods works with. Built once, by `openPods`. */
export interface Pods {
  readonly logger: Logger;
  readonly settings: PodSettings;
  readonly host: HostFacts;
  readonly sandboxes: RecordStore<SandboxRecord>;
  readonly containers: RecordStore<ContainerRecord>;
  readonly events: PodEvents;
  /** Creations under way, by name: a retry joins. */
  readonly creations: Flights<string>;
  /** One lock for each sandbox and container id, held while its state changes. */
  readonly locks: KeyedLock;
  /** Containers that got their stop signal: a second one could mean something else to them. */
  readonly signalled: Set<string>;
  readonly exits: Exits;
  readonly forwards: OpenForwards;
  readonly migrations: CgroupMigrations;
  readonly network: CniEngine;
  readonly images: ImageStore;
  readonly runtimes: Runtimes;
  readonly conmon: Conmon;
  readonly userNamespaces: UserNamespaceSupport;
  /** Is told of what happens; undefined for nobody. */
  readonly observer: LifecycleObserver | undefined;
}

export interface PodSettings {
  /** State that dies with the boot. */
  stateDirectory: string;
  /** Where the containers' writable layers live. */
  rootDirectory: string;
  /** Where network namespaces are pinned; `ip netns` knows `/run/netns`. */
  netnsDirectory: string;
  cgroupDriver: 'cgroupfs' | 'systemd';
  /** The program that is the first process of a shared PID namespace: catatonit. */
  initPath: string;
  /** Where CDI documents are looked for, a later directory before an earlier one. */
  cdiDirectories: readonly string[];
  /** Bytes. */
  shmSize: number;
  /** Processes of one container; undefined for no limit. */
  pidsLimit: number | undefined;
  /** Bytes after which a log starts anew; undefined for no limit. */
  logSizeMax: number | undefined;
  /** Whether containers may be made from checkpoints: who can name one can run anything. */
  restoreCheckpoints: boolean;
}

/** What this machine has, read once at the start. */
export interface HostFacts {
  cgroups: CgroupLayout;
  /** What the daemon may hand out. */
  boundingCapabilities: ReadonlySet<string>;
  /** The lowest oom_score_adj that may be given; −1000 with CAP_SYS_RESOURCE. */
  lowestOomScoreAdj: number;
  /** Whether processes can be confined by AppArmor. */
  apparmor: boolean;
  /** Undefined where there is no SELinux. */
  selinux: SelinuxDefaults | undefined;
  hugepages: boolean;
  /** Whether memory and swap can be limited together. */
  swapLimit: boolean;
}
