import { rmSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { codeOf, messageOf } from '../../base/index.ts';
import { indexArchive } from './archive-index.ts';
import { hashFile } from './hash-file.ts';
import { settleLayer } from './settle-layer.ts';
import { unpackLayer } from './unpack-layer.ts';
import type { WorkerAnswer, WorkerTask } from './worker-tasks.ts';

/** The program of an unpack worker: one task at a time, each answered with one message. */
parentPort?.on('message', (task: WorkerTask) => {
  perform(task).then(
    (result) => answer({ ok: true, result }),
    (error: unknown) => answer({ ok: false, code: codeOf(error), message: messageOf(error) }),
  );
});

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

function answer(message: WorkerAnswer): void {
  parentPort?.postMessage(message);
}
