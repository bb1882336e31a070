import type { IdRange } from '../linux/index.ts';

/**
 * What a pod and its containers are asked to be. These are CRI's PodSandboxConfig and
 * ContainerConfig in plain values; they are kept in the records as JSON.
 */
export interface SandboxConfig {
  metadata: SandboxMetadata;
  hostname: string;
  /** Where the logs of the pod's containers go; '' for none. */
  logDirectory: string;
  /** Undefined: the host's own resolv.conf. */
  dns: { servers: string[]; searches: string[]; options: string[] } | undefined;
  portMappings: PortMapping[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** In the form of the node's cgroup driver; '' for the default. */
  cgroupParent: string;
  sysctls: Record<string, string>;
  namespaces: NamespaceModes;
  /** Whether containers in it may be privileged. */
  privileged: boolean;
  security: SandboxSecurity;
  resources: ContainerResources | undefined;
  overhead: ContainerResources | undefined;
}

export interface SandboxMetadata {
  name: string;
  namespace: string;
  uid: string;
  attempt: number;
}

export interface PortMapping {
  protocol: 'tcp' | 'udp' | 'sctp';
  containerPort: number;
  /** 0: none. */
  hostPort: number;
  hostIp: string;
}

export type NamespaceMode = 'pod' | 'container' | 'node' | 'target';

export interface NamespaceModes {
  network: 'pod' | 'node';
  ipc: 'pod' | 'node';
  pid: NamespaceMode;
  /** The container whose PID namespace is joined in mode `target`. */
  targetId: string;
  /** The ids of the pod's own user namespace; undefined: it uses the host's. */
  user: UserMappings | undefined;
}

export interface UserMappings {
  uids: IdRange;
  gids: IdRange;
}

/**
 * What the pod's own process, the init of a shared PID namespace, runs with. Other pods
 * have no process of their own. Containers take the SELinux options over.
 */
export interface SandboxSecurity {
  runAsUser: number | undefined;
  runAsGroup: number | undefined;
  supplementalGroups: number[];
  seccomp: SecurityProfile;
  apparmor: SecurityProfile | undefined;
  selinux: SelinuxOptions | undefined;
}

/** Parts of an SELinux label; '' leaves one to the node. */
export interface SelinuxOptions {
  user: string;
  role: string;
  type: string;
  level: string;
}

export interface ContainerConfig {
  metadata: { name: string; attempt: number };
  image: ImageReference;
  command: string[];
  args: string[];
  workingDir: string;
  envs: { key: string; value: string }[];
  mounts: MountConfig[];
  devices: { containerPath: string; hostPath: string; permissions: string }[];
  /** Qualified names, `vendor/class=name` (Container Device Interface). */
  cdiDevices: string[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  /** Below the sandbox's log directory; '' for none. */
  logPath: string;
  stdin: boolean;
  stdinOnce: boolean;
  tty: boolean;
  resources: ContainerResources;
  security: ContainerSecurity;
  /** Overrides the image's: a name such as `SIGTERM`. */
  stopSignal: string | undefined;
}

export interface ImageReference {
  image: string;
  userSpecifiedImage: string;
  annotations: Record<string, string>;
  runtimeHandler: string;
  /** A digest reference, as kubelets know the image of a volume. */
  imageRef: string;
}

export interface MountConfig {
  containerPath: string;
  /** '' for an image. */
  hostPath: string;
  /** Instead of a path of the host, the files of an image, read-only. */
  image: ImageReference | undefined;
  /** The directory of the image that is mounted; '' for all of it. */
  imageSubPath: string;
  /** By which owners are shown; none: as they are. */
  uidMappings: IdRange[];
  gidMappings: IdRange[];
  readonly: boolean;
  recursiveReadOnly: boolean;
  propagation: 'private' | 'host-to-container' | 'bidirectional';
  selinuxRelabel: boolean;
  /** More options of the bind mount, such as `noexec`. */
  options: string[];
}

/** Sizes in bytes, times in microseconds; undefined leaves the value alone. */
export interface ContainerResources {
  cpuPeriod: number | undefined;
  cpuQuota: number | undefined;
  cpuShares: number | undefined;
  memoryLimit: number | undefined;
  /** Memory and swap together. */
  memorySwapLimit: number | undefined;
  oomScoreAdj: number | undefined;
  cpusetCpus: string | undefined;
  cpusetMems: string | undefined;
  hugepageLimits: { pageSize: string; limit: number }[];
  /** Files of cgroup v2 and their values. */
  unified: Record<string, string>;
  // CRI has none of the following: only who adjusts containers asks for them.
  /** Bytes that the kernel tries to leave the container. */
  memoryReservation?: number | undefined;
  /** 0 to 100; cgroup v1 only. */
  memorySwappiness?: number | undefined;
  /** Bytes of TCP buffers; cgroup v1 only. */
  kernelTcpLimit?: number | undefined;
  /** cgroup v1 only. */
  disableOomKiller?: boolean | undefined;
  /** Realtime scheduling; cgroup v1 only. */
  cpuRealtimeRuntime?: number | undefined;
  cpuRealtimePeriod?: number | undefined;
  /** Processes; -1 for no limit. */
  pidsLimit?: number | undefined;
}

/** The limits of a container that was given none; as changes, none. */
export const NO_RESOURCES: ContainerResources = {
  cpuPeriod: undefined,
  cpuQuota: undefined,
  cpuShares: undefined,
  memoryLimit: undefined,
  memorySwapLimit: undefined,
  oomScoreAdj: undefined,
  cpusetCpus: undefined,
  cpusetMems: undefined,
  hugepageLimits: [],
  unified: {},
};

export interface ContainerSecurity {
  privileged: boolean;
  namespaces: NamespaceModes;
  addCapabilities: string[];
  dropCapabilities: string[];
  addAmbientCapabilities: string[];
  runAsUser: number | undefined;
  runAsGroup: number | undefined;
  runAsUsername: string;
  supplementalGroups: number[];
  /** `merge` adds the memberships in the image's /etc/group. */
  supplementalGroupsPolicy: 'merge' | 'strict';
  readonlyRootfs: boolean;
  noNewPrivileges: boolean;
  maskedPaths: string[];
  readonlyPaths: string[];
  seccomp: SecurityProfile;
  apparmor: SecurityProfile | undefined;
  /** Undefined: those of the pod. */
  selinux: SelinuxOptions | undefined;
}

export type SecurityProfile =
  | { type: 'runtime-default' }
  | { type: 'unconfined' }
  /** A seccomp file's absolute path, or the name of a loaded AppArmor profile. */
  | { type: 'localhost'; reference: string };
