import { once } from 'node:events';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { KeelsonError, NEVER } from '../base/index.ts';
import { bindMount } from './mounts.ts';
import { type PinnableNamespace, sysctlFile } from './namespaces.ts';
import { startPiped } from './piped-process.ts';
import { run } from './run.ts';
import { exitOf, killGroup } from './start.ts';

/** A range of ids inside a user namespace, and which ids of the host they are. */
export interface IdRange {
  containerId: number;
  hostId: number;
  length: number;
}

export interface UserNamespaceRequest {
  uids: IdRange;
  gids: IdRange;
  /** Where it is pinned. The file must not exist, and so those of `owned`. */
  path: string;
  /** Namespaces that it owns, made along with it, and where they are pinned. */
  owned: Partial<Record<PinnableNamespace, string>>;
}

const OPTION: Record<PinnableNamespace, string> = { net: '--net', ipc: '--ipc', uts: '--uts' };

/**
 * Makes a user namespace with namespaces that belong to it, and pins them. A thread of a
 * process with several cannot enter one, so a program is in there until they are pinned.
 * Fails with FAILED_PRECONDITION where the kernel lets nobody make one.
 */
export async function createUserNamespace(
  request: UserNamespaceRequest,
  signal: AbortSignal = NEVER,
): Promise<void> {
  const owned = Object.entries(request.owned) as [PinnableNamespace, string][];
  for (const path of [request.path, ...Object.values(request.owned)]) {
    closeSync(openSync(path, 'wx', 0o444));
  }
  await using inside = await enter(
    owned.map(([type]) => OPTION[type]),
    signal,
  );
  const proc = `/proc/${inside.pid}`;
  // Each map can be written once, in one piece.
  writeFileSync(`${proc}/uid_map`, mapLine(request.uids));
  writeFileSync(`${proc}/gid_map`, mapLine(request.gids));
  bindMount(`${proc}/ns/user`, request.path);
  for (const [type, path] of owned) bindMount(`${proc}/ns/${type}`, path);
}

function mapLine({ containerId, hostId, length }: IdRange): string {
  return `${containerId} ${hostId} ${length}\n`;
}

/** A program in new namespaces, ready: it answered. It ends when this is disposed of. */
async function enter(
  options: readonly string[],
  signal: AbortSignal,
): Promise<AsyncDisposable & { pid: number }> {
  const { child, stdin, stdout, stderr } = startPiped(
    'unshare',
    ['--user', ...options, '--', 'cat'],
    { stdin: true, stdout: true, stderr: true },
  );
  const ended = exitOf(child, 'unshare');
  const close = async () => {
    killGroup(child.pid);
    await ended.catch(() => {});
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
  };
  try {
    let reason = '';
    stderr?.on('data', (chunk: Buffer) => {
      reason += chunk.toString();
    });
    stdin?.on('error', () => {}); // EPIPE: it ended.
    stdin?.write('.');
    const answer = stdout === undefined ? undefined : once(stdout, 'data', { signal });
    const failure = ended.then(async () => {
      await new Promise((resolve) => stderr?.once('close', resolve));
      throw new KeelsonError('FAILED_PRECONDITION', 'Cannot make a user namespace', {
        reason: reason.trim(),
        hint: 'see sysctl user.max_user_namespaces',
      });
    });
    failure.catch(() => {});
    await Promise.race([answer, failure]);
    return { pid: child.pid ?? 0, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Writes a sysctl as root of a user namespace: those of an IPC namespace take no values
 * from anybody else.
 */
export async function writeSysctlAsOwner(
  name: string,
  value: string,
  namespaces: { user: string; ipc: string },
): Promise<void> {
  const result = await run(
    'nsenter',
    [
      ...[`--user=${namespaces.user}`, `--ipc=${namespaces.ipc}`, '--setuid=0', '--setgid=0'],
      ...['--', 'tee', sysctlFile(name)],
    ],
    { input: value },
  );
  if (result.code === 0) return;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot set sysctl "${name}" to "${value}"`, {
    reason: result.stderr.toString().trim(),
  });
}
