import { enableCompileCache, flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { WorkerSettings, WorkerTask } from './worker-tasks.ts';

// Where an unpack worker begins: it answers one task after the other. The compile cache of
// the main thread does not count here, and without one a start takes four times as long.
const { compileCache, gunzip }: WorkerSettings = workerData;
if (compileCache !== undefined) enableCompileCache(compileCache);
const { answerTask } = await import('./worker-program.ts');
flushCompileCache();

parentPort?.on('message', async (task: WorkerTask) => {
  parentPort?.postMessage(await answerTask(task, gunzip));
});
