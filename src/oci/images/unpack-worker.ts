import { rmSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { codeOf, messageOf } from '../../base/errors.ts';
import { indexArchive } from './archive-index.ts';
import { hashFile } from './hash-file.ts';
import { settleLayer } from './settle-layer.ts';
import { SharedSlots } from './shared-slots.ts';
import { SmallFiles } from './small-files.ts';
import { unpackLayer } from './unpack-layer.ts';
import type { WorkerAnswer, WorkerMessage, WorkerSettings, WorkerTask } from './worker-tasks.ts';

// The program of an unpack worker: it answers one task after the other.
const { gunzip }: WorkerSettings = workerData;
flushCompileCache();

let busy: Promise<void> | undefined;
parentPort?.on('message', async (message: WorkerMessage) => {
  await busy;
  if (message === 'end') parentPort?.close();
  else busy = answerTask(message).then((answer) => parentPort?.postMessage(answer));
});

/** Does a task. Never rejects: a failure is an answer, too. */
async function answerTask(task: WorkerTask): Promise<WorkerAnswer> {
  try {
    return { ok: true, result: await perform(task) };
  } catch (error) {
    return { ok: false, code: codeOf(error), message: messageOf(error) };
  }
}

async function perform(task: WorkerTask) {
  switch (task.kind) {
    case 'unpack':
      return await unpackLayer(task.job, gunzip);
    case 'help':
      new SmallFiles(new SharedSlots(task.job.slots), task.job.directory).help();
      return undefined;
    case 'settle':
      return settleLayer(task.job);
    case 'index':
      return await indexArchive(task.job, gunzip);
    case 'hash':
      return hashFile(task.job);
    case 'remove':
      rmSync(task.job.path, { recursive: true, force: true });
      return undefined;
  }
}
