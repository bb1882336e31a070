/** Where plugins and networks are, by the configuration of the daemon and the command line. */
export interface CniSettings {
  readonly confDir: string;
  readonly binDirs: readonly string[];
  readonly overrideDir: string;
  readonly cacheDir: string;
  readonly prefer: 'builtin' | 'exec';
  /** Milliseconds. */
  readonly pluginTimeout: number;
  /** Whether the embedded network is there while no file is. */
  readonly defaultNetwork: boolean;
  /** Where the daemon keeps what survives a boot, such as the subnets of the embedded network. */
  readonly root: string;
}

/** An interface of a container, and what plugins are told of it. */
export interface CniPlace {
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  readonly args: readonly (readonly [string, string])[];
  readonly capabilityArgs: Readonly<Record<string, unknown>>;
}

export interface FoundNetwork {
  readonly name: string;
  readonly version: string;
  readonly plugins: readonly string[];
  /** Empty for the embedded network. */
  readonly file: string;
  /** Why the file holds no network. */
  readonly problem?: string;
}

export interface PluginVersions {
  readonly type: string;
  /** `builtin`, or the path of the program. */
  readonly program: string;
  readonly versions: readonly string[];
}

/** The CNI engine as `keelson cni` uses it; the program that the command line is a part of has it. */
export interface CniTool {
  /** Answers the result in the form of the network's version. */
  add(network: string, place: CniPlace, signal: AbortSignal): Promise<object>;
  del(network: string, place: CniPlace, signal: AbortSignal): Promise<void>;
  check(network: string, place: CniPlace, signal: AbortSignal): Promise<void>;
  /** Collects what attachments left whose network namespace is gone. */
  gc(network: string, signal: AbortSignal): Promise<void>;
  status(network: string, signal: AbortSignal): Promise<void>;
  versions(network: string, signal: AbortSignal): Promise<readonly PluginVersions[]>;
  networks(): Promise<readonly FoundNetwork[]>;
  /** Writes launchers of the built-in plugins and answers their paths. */
  install(directory: string, options: { force: boolean }): Promise<readonly string[]>;
  uninstall(directory: string): Promise<readonly string[]>;
}
