import type { CapabilityChanges } from './capabilities.ts';
import type {
  DeviceNode,
  Hooks,
  IdMapping,
  LinuxConfig,
  NamespaceType,
  Process,
  Resources,
  Seccomp,
  SpecMount,
} from './runtime-config.ts';

/** What a container's configuration comes down to, before it is written as config.json. */
export interface ContainerSpecRequest {
  rootfs: string;
  readonlyRootfs: boolean;
  process: Pick<Process, 'args' | 'env' | 'cwd' | 'user'> & {
    terminal: boolean;
    noNewPrivileges: boolean;
    oomScoreAdj: number | undefined;
    apparmorProfile: string | undefined;
    selinuxLabel: string | undefined;
  };
  privileged: boolean;
  capabilities: CapabilityChanges;
  /** `default` is the RuntimeDefault profile; undefined leaves the container unconfined. */
  seccomp: 'default' | Seccomp | undefined;
  /** A path joins a namespace, undefined makes a new one; the host's own are left out. */
  namespaces: Partial<Record<NamespaceType, string | undefined>>;
  userMappings: { uids: IdMapping[]; gids: IdMapping[] } | undefined;
  /** In the order given, after the default mounts; one at the same place replaces a default. */
  mounts: readonly SpecMount[];
  rootfsPropagation: string;
  /** SELinux label of what the runtime mounts. */
  mountLabel: string | undefined;
  devices: readonly { node: DeviceNode; access: string }[];
  hooks?: Hooks;
  intelRdt?: LinuxConfig['intelRdt'];
  maskedPaths: readonly string[];
  readonlyPaths: readonly string[];
  resources: Resources;
  cgroupsPath: string;
  annotations: Record<string, string>;
  host: {
    /** The capabilities that the daemon itself may hand out. */
    boundingCapabilities: ReadonlySet<string>;
    /** Whether the cgroups that it can see are of version 2, and the host's. */
    cgroupV2: boolean;
  };
}
