/** How `keelson csi hostpath` runs. */
export interface HostPathSettings {
  readonly endpoint: string;
  readonly root: string;
  readonly nodeId?: string;
  readonly name?: string;
  /** Where a kubelet or the daemon looks for drivers. */
  readonly registrationDir?: string;
  readonly logLevel: string;
}

/** What a driver says it can do; numbers of 64 bits are digits. */
export interface ProbedDriver {
  readonly name: string;
  readonly version: string;
  readonly manifest: Readonly<Record<string, string>>;
  readonly ready: boolean;
  readonly plugin: readonly string[];
  readonly expansion: readonly string[];
  readonly controller: readonly string[];
  readonly groupController: readonly string[];
  readonly node?: {
    readonly nodeId: string;
    readonly maxVolumes: string;
    readonly topology: Readonly<Record<string, string>>;
    readonly capabilities: readonly string[];
  };
}

/** CSI as `keelson csi` uses it; the program that the command line is a part of has it. */
export interface CsiTool {
  /** Runs the host-path driver until the signal aborts. */
  hostPath(settings: HostPathSettings, signal: AbortSignal): Promise<void>;
  /** `timeout`: milliseconds for each call. */
  probe(socket: string, options: { timeout: number; signal: AbortSignal }): Promise<ProbedDriver>;
}
