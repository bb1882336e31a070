import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expectValue, KeelsonError, readTextIfExists, writeFileAtomic } from './base/index.ts';
import { identifyProcess, isAlive, type ProcessId } from './linux/index.ts';

/**
 * Claims a state directory for this process: two daemons on one would undo each other's
 * work. A claim of a process that is gone counts for nothing.
 */
export async function lockState(directory: string): Promise<AsyncDisposable> {
  await mkdir(directory, { recursive: true, mode: 0o711 });
  const path = join(directory, 'daemon.json');
  const claim = await readTextIfExists(path);
  const owner = claim === undefined ? undefined : (JSON.parse(claim) as ProcessId);
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
