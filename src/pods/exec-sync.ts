import { deadlineExceeded, span } from '../base/index.ts';
import { run } from '../linux/index.ts';
import { prepareExec } from './exec-command.ts';
import type { Pods } from './pods.ts';

/**
 * Bytes of stdout and stderr together that are kept: kubelets take messages of up to
 * 16 MiB, and some of it goes to the message around them.
 */
const OUTPUT_LIMIT = (16 << 20) - 1024;

export interface ExecSyncRequest {
  containerId: string;
  command: string[];
  /** Seconds; 0 for no limit. */
  timeout: number;
}

export interface ExecResult {
  stdout: Buffer;
  stderr: Buffer;
  exitCode: number;
}

/**
 * Runs a command in a running container and answers its output. A command that cannot be
 * found ends with 127, one that cannot be executed with 126, as in a shell. When the
 * timeout is over, the command's process group is killed: DEADLINE_EXCEEDED.
 */
export async function execSync(
  pods: Pods,
  request: ExecSyncRequest,
  signal: AbortSignal,
): Promise<ExecResult> {
  await using exec = await prepareExec(pods, request.containerId, {
    command: request.command,
    tty: false,
  });
  using limit = timeLimit(request.timeout * 1000, exec.action);
  const result = await span('oci.exec', { id: request.containerId }, () =>
    run(exec.command.program, exec.command.args, {
      signal: AbortSignal.any([signal, limit.signal]),
      kill: exec.kill,
      outputLimit: OUTPUT_LIMIT,
      hideHybridCgroups: exec.command.hideHybridCgroups,
    }),
  );
  const failure = result.code === 0 ? undefined : await exec.failure();
  if (failure !== undefined) {
    const stderr = Buffer.from(`${failure.message}\n`);
    return { stdout: Buffer.alloc(0), stderr, exitCode: failure.exitCode };
  }
  return { ...bounded(result), exitCode: result.code ?? 255 };
}

/** Each stream may have half of the room, and what the other one leaves. */
function bounded({ stdout, stderr }: { stdout: Buffer; stderr: Buffer }) {
  const room = Math.max(OUTPUT_LIMIT / 2, OUTPUT_LIMIT - stderr.length);
  const first = stdout.subarray(0, room);
  return { stdout: first, stderr: stderr.subarray(0, OUTPUT_LIMIT - first.length) };
}

/** Aborts after the time, with an error that says what took too long; 0 never does. */
function timeLimit(milliseconds: number, action: string): Disposable & { signal: AbortSignal } {
  const abort = new AbortController();
  const timer =
    milliseconds === 0
      ? undefined
      : setTimeout(() => abort.abort(deadlineExceeded(action, milliseconds)), milliseconds);
  return { signal: abort.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
