import { rmSync } from 'node:fs';
import { codeOf, messageOf } from '../../base/index.ts';
import { indexArchive } from './archive-index.ts';
import { hashFile } from './hash-file.ts';
import { settleLayer } from './settle-layer.ts';
import { unpackLayer } from './unpack-layer.ts';
import type { WorkerAnswer, WorkerTask } from './worker-tasks.ts';

/** Does a task. Never rejects: a failure is an answer, too. */
export async function answerTask(task: WorkerTask): Promise<WorkerAnswer> {
  try {
    return { ok: true, result: await perform(task) };
  } catch (error) {
    return { ok: false, code: codeOf(error), message: messageOf(error) };
  }
}

async function perform(task: WorkerTask) {
  switch (task.kind) {
    case 'unpack':
      return await unpackLayer(task.job);
    case 'settle':
      return settleLayer(task.job);
    case 'index':
      return await indexArchive(task.job);
    case 'hash':
      return hashFile(task.job);
    case 'remove':
      rmSync(task.job.path, { recursive: true, force: true });
      return undefined;
  }
}
