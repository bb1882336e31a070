import { rmSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { codeOf, messageOf } from '../../base/index.ts';
import { settleLayer } from './settle-layer.ts';
import { unpackLayer } from './unpack-layer.ts';
import type { WorkerAnswer, WorkerTask } from './unpack-pool.ts';

/** The program of an unpack worker: one task at a time, each answered with one message. */
parentPort?.on('message', (task: WorkerTask) => {
  perform(task).then(
    (layer) => answer({ ok: true, layer }),
    (error: unknown) => answer({ ok: false, code: codeOf(error), message: messageOf(error) }),
  );
});

async function perform(task: WorkerTask) {
  switch (task.kind) {
    case 'unpack':
      return await unpackLayer(task.job);
    case 'settle':
      settleLayer(task.job);
      return undefined;
    case 'remove':
      rmSync(task.path, { recursive: true, force: true });
      return undefined;
  }
}

function answer(message: WorkerAnswer): void {
  parentPort?.postMessage(message);
}
