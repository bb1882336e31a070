import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { KeelsonError } from '../base/index.ts';
import type { SetGroupRequest } from './set-group.ts';

// Node runs this file as it is, or compiled: the worker's program has the same suffix.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './set-group-worker.ts' : './set-group-worker.js',
  import.meta.url,
);

/** `setGroup` in a worker thread of its own, which ends when the signal aborts. */
export async function setGroupAside(request: SetGroupRequest, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const worker = new Worker(PROGRAM, { name: 'keelson-set-group', workerData: request });
  try {
    const [problem] = (await once(worker, 'message', { signal })) as [string | undefined];
    if (problem === undefined) return;
    const action = `Cannot give "${request.root}" to group ${request.gid}`;
    throw new KeelsonError('UNKNOWN', action, { reason: problem });
  } finally {
    await worker.terminate();
  }
}
