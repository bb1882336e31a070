import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expectValue, KeelsonError, readTextIfExists, writeFileAtomic } from './base/index.ts';
import { identifyProcess, isAlive, lockFile, type ProcessId } from './linux/index.ts';

/** How long another daemon may take to look and to write its claim, in milliseconds. */
const LOCK_DEADLINE = 10_000;

/**
 * Claims a state directory for this process: two daemons on one would undo each other's
 * work. A claim of a process that is gone counts for nothing.
 */
export async function lockState(directory: string): Promise<AsyncDisposable> {
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const path = join(directory, 'daemon.json');
  // Two daemons that start together must not both find nobody.
  await using _lock = await lockFile(
    join(directory, 'daemon.lock'),
    'exclusive',
    AbortSignal.timeout(LOCK_DEADLINE),
  );
  const owner = parseClaim(await readTextIfExists(path));
  if (owner !== undefined && owner.pid !== process.pid && isAlive(owner)) {
    throw new KeelsonError('ALREADY_EXISTS', `State directory "${directory}" is in use`, {
      reason: `a daemon runs there as process ${owner.pid}`,
      hint: 'stop it, or choose another --state directory',
    });
  }
  const self = expectValue(identifyProcess(process.pid), 'own process');
  await writeFileAtomic(path, JSON.stringify(self));
  return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
}

/** What makes no sense claims nothing: a crash of the machine may leave an empty file. */
function parseClaim(text: string | undefined): ProcessId | undefined {
  try {
    const claim: unknown = JSON.parse(text ?? 'null');
    const isClaim = typeof claim === 'object' && claim !== null && 'pid' in claim;
    return isClaim ? (claim as ProcessId) : undefined;
  } catch {
    return undefined;
  }
}
