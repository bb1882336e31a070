import { parentPort } from 'node:worker_threads';
import { type MeasureTask, measure } from './measure-tasks.ts';

// Where a worker that measures begins: it answers one task after the other. No task fails.
parentPort?.on('message', async (task: MeasureTask) => {
  parentPort?.postMessage(await measure(task));
});
