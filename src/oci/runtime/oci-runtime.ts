import { KeelsonError, NEVER, span, withTimeout } from '../../base/index.ts';
import { type RunResult, run } from '../../linux/index.ts';
import type { Resources } from '../spec/index.ts';
import type { ExecCommand, ExecFiles, TerminalWay } from './exec-command.ts';

export type RuntimeType = 'crun' | 'runc' | 'runsc';

export interface OciRuntimeOptions {
  /** The runtime handler's name, as kubelets know it from a RuntimeClass. */
  handler: string;
  type: RuntimeType;
  /** The program. */
  path: string;
  /** Where the runtime keeps its state. */
  root: string;
  /** More global options for each call. */
  options?: readonly string[];
  systemdCgroup: boolean;
}

/** What `state` answers of a container (runtime.md, "State"). */
export interface RuntimeState {
  status: 'creating' | 'created' | 'running' | 'stopped' | 'paused';
  pid: number;
}

/**
 * Options that Keelson gives each runtime before those configured, of which the last counts.
 * gVisor: the network of the pod's own namespace as the kernel has it, so that everything else
 * that enters the namespace meets the same sockets; and seccomp profiles honoured.
 */
const OWN_OPTIONS: Record<RuntimeType, readonly string[]> = {
  crun: [],
  runc: [],
  runsc: ['--network=host', '--oci-seccomp'],
};

/** runc and runsc hand a terminal over only if nobody waits for the exit code. */
const TERMINALS: Record<RuntimeType, TerminalWay> = {
  crun: 'handed-over',
  runc: 'relayed',
  runsc: 'inherited',
};

/** No call of a runtime takes this long, in milliseconds, unless it is stuck. */
const CALL_DEADLINE = 60_000;
const CHECKPOINT_DEADLINE = 3_600_000;

/**
 * The command line of an OCI runtime: crun, runc or runsc. Containers are created
 * through a monitor (see `Conmon`); everything else goes straight to the runtime.
 */
export class OciRuntime {
  readonly handler: string;
  readonly type: RuntimeType;
  readonly path: string;
  readonly systemdCgroup: boolean;
  readonly #root: string;
  readonly #options: readonly string[];

  constructor(options: OciRuntimeOptions) {
    this.handler = options.handler;
    this.type = options.type;
    this.path = options.path;
    this.systemdCgroup = options.systemdCgroup;
    this.#root = options.root;
    this.#options = options.options ?? [];
  }

  /** crun 1.8 refuses hosts where the v2 tree is mounted beside v1 controllers. */
  get hideHybridCgroups(): boolean {
    return this.type === 'crun';
  }

  /** All containers of a pod live in one process, the sandbox, that is started before them. */
  get needsSandbox(): boolean {
    return this.type === 'runsc';
  }

  /** Options before the command, except how cgroups are driven (the monitor adds that itself). */
  get globalArgs(): string[] {
    return [`--root=${this.#root}`, ...OWN_OPTIONS[this.type], ...this.#options];
  }

  /** Options before any command. */
  get callArgs(): string[] {
    return [...(this.systemdCgroup ? ['--systemd-cgroup'] : []), ...this.globalArgs];
  }

  async start(id: string, signal: AbortSignal): Promise<void> {
    await this.#expect('start', [id], signal);
  }

  /** Signals the container's first process. Answers false when the container is gone. */
  async kill(id: string, signalName: string, signal: AbortSignal): Promise<boolean> {
    const result = await this.call('kill', [id, signalName], signal);
    if (result.code === 0) return true;
    if (isGone(messageIn(result))) return false;
    throw this.#failure('kill', id, result);
  }

  /**
   * gVisor only: kills a process of a container, by its pid in the sandbox, and what descends
   * from it. Absence is fine.
   */
  async killInner(id: string, pid: number, signal: AbortSignal): Promise<void> {
    for (const each of await this.#innerTree(id, pid, signal)) {
      await this.call('kill', ['-pid', String(each), id, 'KILL'], signal);
    }
  }

  /** A process of a container in a sandbox, and its descendants. */
  async #innerTree(id: string, pid: number, signal: AbortSignal): Promise<Set<number>> {
    const tree = new Set([pid]);
    const { stdout } = await this.call('ps', ['--format=table', id], signal);
    // Lines in the order of pids, of which those of parents are lower: UID, PID, PPID, ….
    for (const line of stdout.toString().split('\n')) {
      const [, child, parent] = line.trim().split(/\s+/).map(Number);
      if (child !== undefined && parent !== undefined && tree.has(parent)) tree.add(child);
    }
    return tree;
  }

  async pause(id: string, signal: AbortSignal): Promise<void> {
    await this.#expect('pause', [id], signal);
  }

  async resume(id: string, signal: AbortSignal): Promise<void> {
    await this.#expect('resume', [id], signal);
  }

  /**
   * Writes what a container's processes are into `images`, and logs into `work`; they go on.
   * Not to be cut off: that could leave them broken.
   */
  async checkpoint(id: string, { images, work }: { images: string; work: string }): Promise<void> {
    const args = ['--image-path', images, '--work-path', work, '--file-locks', '--leave-running'];
    await this.#expect('checkpoint', [...args, id], NEVER, undefined, CHECKPOINT_DEADLINE);
  }

  /** Removes what the runtime keeps of a container, killing it first. Absence is fine. */
  async delete(id: string, signal: AbortSignal): Promise<void> {
    const result = await this.call('delete', ['--force', id], signal);
    if (result.code !== 0 && !isGone(messageIn(result))) throw this.#failure('delete', id, result);
  }

  /** Undefined when the runtime does not know the container. */
  async state(id: string, signal: AbortSignal): Promise<RuntimeState | undefined> {
    const result = await this.call('state', [id], signal);
    if (result.code === 0) return JSON.parse(result.stdout.toString()) as RuntimeState;
    if (isGone(messageIn(result))) return undefined;
    throw this.#failure('state', id, result);
  }

  async update(id: string, resources: Resources, signal: AbortSignal): Promise<void> {
    await this.#expect('update', ['--resources', '-', id], signal, JSON.stringify(resources));
  }

  /**
   * The command line that runs a process in a running container and ends with its exit
   * code. `process` is a file with an OCI process object; the runtime writes the process's
   * pid, as the host sees it, to `pid`, and errors of its own to `log`. With `console`,
   * it sends the process's terminal to the socket at that path, unless it relays.
   */
  execCommand(id: string, files: ExecFiles): ExecCommand {
    const terminal = TERMINALS[this.type];
    return {
      program: this.path,
      args: [
        ...this.callArgs,
        ...['--log', files.log, '--log-format', 'json'],
        ...['exec', '--process', files.process, '--pid-file', files.pid],
        ...(this.needsSandbox ? ['--internal-pid-file', files.innerPid] : []),
        ...(files.console === undefined || terminal !== 'handed-over'
          ? []
          : ['--console-socket', files.console]),
        id,
      ],
      terminal,
      hideHybridCgroups: this.hideHybridCgroups,
    };
  }

  /** The first line of `--version`. Fails when the program is missing. */
  async version(signal: AbortSignal): Promise<string> {
    const result = await run(this.path, ['--version'], { signal: withTimeout(signal, 10_000) });
    return result.stdout.toString().split('\n')[0] ?? '';
  }

  /** The answer of `features`; undefined from runtimes that do not have the command. */
  async features(signal: AbortSignal): Promise<RuntimeFeatures | undefined> {
    const options = { signal: withTimeout(signal, 10_000) };
    const result = await span('oci.features', { runtime: this.handler }, () =>
      run(this.path, ['features'], options),
    );
    if (result.code !== 0) return undefined;
    try {
      return JSON.parse(result.stdout.toString()) as RuntimeFeatures;
    } catch {
      return undefined;
    }
  }

  /** Runs one command of the runtime. */
  async call(
    command: string,
    args: readonly string[],
    signal: AbortSignal,
    input?: string,
    deadline = CALL_DEADLINE,
  ): Promise<RunResult> {
    const attributes = { runtime: this.handler, args: args.join(' ') };
    return span(`oci.${command}`, attributes, async (self) => {
      const words = [...this.callArgs, command, ...args];
      const result = await run(this.path, words, {
        signal: withTimeout(signal, deadline),
        hideHybridCgroups: this.hideHybridCgroups,
        ...(input === undefined ? {} : { input }),
      });
      // Some callers expect it to fail: it is no failure of the span.
      if (result.code !== 0) self.set({ exitCode: result.code ?? -1, said: messageIn(result) });
      return result;
    });
  }

  async #expect(
    command: string,
    args: string[],
    signal: AbortSignal,
    input?: string,
    deadline = CALL_DEADLINE,
  ): Promise<void> {
    const result = await this.call(command, args, signal, input, deadline);
    if (result.code !== 0) throw this.#failure(command, args.at(-1) ?? '', result);
  }

  #failure(command: string, id: string, result: RunResult): KeelsonError {
    return new KeelsonError('UNKNOWN', `Cannot ${command} container "${id}" by ${this.path}`, {
      reason: messageIn(result),
    });
  }
}

/** The part of `features` that Keelson reads (features.md). */
export interface RuntimeFeatures {
  ociVersionMax?: string;
  mountOptions?: string[];
}

/** What a runtime said of its failure: the last line on stderr, without a JSON or time wrapping. */
function messageIn(result: RunResult): string {
  const text = result.stderr.toString().trim();
  const line = text.split('\n').at(-1) ?? '';
  if (line !== '') return cleanMessage(line);
  return result.signal === undefined ? `exit code ${result.code}` : `killed by ${result.signal}`;
}

/** The `msg` of a JSON or logfmt line, otherwise the line itself. */
export function cleanMessage(line: string): string {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === 'object' && parsed !== null && 'msg' in parsed) return String(parsed.msg);
  } catch {
    // Not JSON: plain text.
  }
  const logfmt = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
  return logfmt?.replaceAll('\\"', '"') ?? line;
}

/** crun 1.8 misses nothing but a container's directory. */
function isGone(message: string): boolean {
  return (
    /does not exist|not running|no such process|No such process|not found/.test(message) ||
    /(open directory|\/status).*: No such file or directory/.test(message)
  );
}
