import { open, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Duplex, type Readable } from 'node:stream';
import { abandonOn, ifExists, KeelsonError, span, withTimeout } from '../../base/index.ts';
import {
  exitOf,
  identifyProcess,
  killGroup,
  type ProcessId,
  run,
  signalProcess,
  start,
} from '../../linux/index.ts';
import { cleanMessage, type OciRuntime } from './oci-runtime.ts';
import { type RestoreSource, restoreCommand, sandboxedCommand } from './stand-in.ts';

export interface MonitorRequest {
  id: string;
  /** A readable name, for conmon's own messages. */
  name: string;
  runtime: OciRuntime;
  /** What conmon watches is a stand-in: the container joins the sandbox of its pod, or is restored. */
  standIn?: 'sandboxed' | RestoreSource | undefined;
  /** Holds config.json; conmon puts its control files here. */
  bundle: string;
  /** Where the file `<id>` with the exit code appears. */
  exitDirectory: string;
  /** The log in CRI format; undefined for none. */
  logPath: string | undefined;
  /** Bytes after which conmon starts the log anew; undefined for no limit. */
  logSizeMax?: number | undefined;
  terminal: boolean;
  stdin: boolean;
  /** Close stdin when the first client that attached to it has gone. */
  stdinOnce: boolean;
}

/** Files of a bundle that are conmon's. */
export const MONITOR_FILES = {
  pid: 'pidfile',
  conmonPid: 'conmon.pid',
  oom: 'oom',
  log: 'conmon.log',
  /** A link to the log of the container, unless the log has a limit. */
  containerLog: 'container.log',
  control: 'ctl',
  attach: 'attach',
} as const;

/** How long creating a container may take, in milliseconds. */
const CREATE_DEADLINE = 120_000;

/** How long conmon may take to go to the background before it is killed, in milliseconds. */
const BACKGROUND_PATIENCE = 1_000;

/**
 * conmon: a small process per container that creates it, owns its stdio, writes its log
 * and its exit code, and so lets containers outlive the daemon.
 */
export class Conmon {
  /** The program: a path, or a name in PATH. */
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Creates a container and answers the pid of its first process, which waits for the
   * runtime's `start`. When aborted, conmon and the runtime are killed; what the runtime
   * already made remains to be deleted.
   */
  async create(request: MonitorRequest, signal: AbortSignal): Promise<number> {
    return span('oci.create', { runtime: request.runtime.handler, id: request.id }, () =>
      this.#create(request, withTimeout(signal, CREATE_DEADLINE)),
    );
  }

  async #create(request: MonitorRequest, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    if (request.logPath !== undefined && request.logSizeMax === undefined) {
      await symlink(request.logPath, join(request.bundle, MONITOR_FILES.containerLog));
    }
    const log = join(request.bundle, MONITOR_FILES.log);
    await using stderr = await open(log, 'a', 0o600);
    const child = start(this.path, conmonArgs(request), {
      stdio: ['ignore', 'ignore', stderr.fd, 'pipe'],
      env: { ...process.env, _OCI_SYNCPIPE: '3' },
      cwd: request.bundle,
      hideHybridCgroups: request.runtime.hideHybridCgroups,
    });
    const sync = child.stdio[3];
    if (!(sync instanceof Duplex)) throw new KeelsonError('INTERNAL', 'No pipe to conmon');
    const ended = exitOf(child, this.path);
    try {
      const [answer] = await abandonOn(signal, Promise.all([firstLine(sync), ended]));
      return parseAnswer(answer, request, await lastLine(log));
    } catch (error) {
      // Only when it has gone to the background is there a file that names the monitor.
      await abandonOn(AbortSignal.timeout(BACKGROUND_PATIENCE), ended).catch(() => {});
      if (child.exitCode === null && child.signalCode === null) killGroup(child.pid);
      await killMonitor(request.bundle);
      throw error;
    } finally {
      sync.destroy();
    }
  }

  /** Makes conmon close the log and open its path again, emptied: see MonitorLog. */
  async reopenLog(bundle: string): Promise<void> {
    await span('conmon.reopen-log', { bundle }, () => this.#control(bundle, '2 0 0'));
  }

  /** Tells a container with a terminal its new size, in characters. */
  async resize(bundle: string, size: { height: number; width: number }): Promise<void> {
    await this.#control(bundle, `1 ${size.height} ${size.width}`);
  }

  async version(signal: AbortSignal): Promise<string> {
    const result = await run(this.path, ['--version'], { signal });
    return result.stdout.toString().split('\n')[0] ?? '';
  }

  async #control(bundle: string, line: string): Promise<void> {
    // O_RDWR: opening a FIFO for writing alone would wait for a reader that may be dead.
    await using fifo = await open(join(bundle, MONITOR_FILES.control), 'r+');
    await fifo.write(`${line}\n`);
  }
}

function conmonArgs(request: MonitorRequest): string[] {
  const file = (name: string) => join(request.bundle, name);
  const { runtime, standIn } = request;
  const { program, args } = runtimeCommand(runtime, standIn);
  return [
    ...['--cid', request.id, '--cuuid', request.id, '--name', request.name],
    ...['--bundle', request.bundle, '--persist-dir', request.bundle],
    ...['--runtime', program],
    ...args.flatMap((arg) => ['--runtime-arg', arg]),
    ...(runtime.systemdCgroup && standIn === undefined ? ['--systemd-cgroup'] : []),
    ...['--container-pidfile', file(MONITOR_FILES.pid)],
    ...['--conmon-pidfile', file(MONITOR_FILES.conmonPid)],
    ...['--exit-dir', request.exitDirectory],
    ...logArgs(request),
    ...['--log-level', 'warning', '--no-sync-log', '--full-attach'],
    ...(request.terminal ? ['--terminal'] : []),
    ...(request.stdin && !request.terminal ? ['--stdin'] : []),
    ...(request.stdin && !request.stdinOnce ? ['--leave-stdin-open'] : []),
  ];
}

function logArgs({ logPath, logSizeMax, bundle }: MonitorRequest): string[] {
  if (logPath === undefined) return ['--log-path', 'off:'];
  if (logSizeMax === undefined) {
    return ['--log-path', `k8s-file:${join(bundle, MONITOR_FILES.containerLog)}`];
  }
  // conmon opens the path of its own accord, so it must be that of the log itself.
  return ['--log-path', `k8s-file:${logPath}`, '--log-size-max', String(logSizeMax)];
}

/** The program that conmon has create the container, with its first arguments. */
function runtimeCommand(runtime: OciRuntime, standIn: MonitorRequest['standIn']) {
  const call = [runtime.path, ...runtime.callArgs];
  if (standIn === undefined) return { program: runtime.path, args: runtime.globalArgs };
  return standIn === 'sandboxed' ? sandboxedCommand(call) : restoreCommand(call, standIn);
}

/** conmon's one line: `{"pid": N}`, or `{"pid": -1, "message": "…"}` when create failed. */
function parseAnswer(answer: string, request: MonitorRequest, log: string): number {
  let parsed: { pid?: number; data?: number; message?: string } = {};
  try {
    parsed = JSON.parse(answer.trim().split('\n').at(-1) ?? '') as typeof parsed;
  } catch {
    // conmon ended without an answer; its log says why.
  }
  const pid = parsed.pid ?? parsed.data;
  if (pid !== undefined && pid > 0) return pid;
  const said = parsed.message?.trim().split('\n').at(-1);
  const reason = cleanMessage(said ?? log);
  throw new KeelsonError('UNKNOWN', `Cannot create container "${request.id}"`, {
    reason: `${request.runtime.path}: ${reason === '' ? 'no reason given' : reason}`,
  });
}

/** conmon keeps the pipe open for good: its answer ends with the line. */
function firstLine(stream: Readable): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    stream.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      if (received.includes('\n')) resolve(received);
    });
    stream.once('close', () => resolve(received));
    stream.once('error', reject);
  });
}

async function lastLine(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).trim().split('\n').at(-1) ?? '';
}

/** The conmon of a bundle; undefined if it has ended, or never went to the background. */
export async function monitorOf(bundle: string): Promise<ProcessId | undefined> {
  const pid = await ifExists(readFile(join(bundle, MONITOR_FILES.conmonPid), 'utf8'));
  if (pid === undefined) return undefined;
  const monitor = identifyProcess(Number(pid));
  // The number may belong to another process by now: only the command line tells.
  const command = await ifExists(readFile(`/proc/${Number(pid)}/cmdline`, 'utf8'));
  return command?.includes(`--bundle\0${bundle}\0`) ? monitor : undefined;
}

/** Kills the conmon of a bundle and, while it creates, the runtime: they share a process group. */
export async function killMonitor(bundle: string): Promise<void> {
  const monitor = await monitorOf(bundle);
  if (monitor === undefined) return;
  killGroup(monitor.pid);
  // It may only be about to lead a group of its own.
  signalProcess(monitor, 'SIGKILL');
  // And in between it may have led one, with the runtime in it already.
  killGroup(monitor.pid);
}
