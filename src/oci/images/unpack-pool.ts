import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, KeelsonError, Semaphore } from '../../base/index.ts';
import type { SettleJob } from './settle-layer.ts';
import type { UnpackedLayer, UnpackJob } from './unpack-layer.ts';

export type WorkerTask =
  | { kind: 'unpack'; job: UnpackJob }
  | { kind: 'settle'; job: SettleJob }
  | { kind: 'remove'; path: string };

export type WorkerAnswer =
  | { ok: true; layer: UnpackedLayer | undefined }
  | { ok: false; code: ErrorCode; message: string };

export interface UnpackPoolOptions {
  /** Workers at most. Default: one for each core, four at most. */
  size?: number;
  /** Milliseconds after which a worker without work ends, to give its memory back. Default 10,000. */
  idle?: number;
}

/** Megabytes of JavaScript objects in one worker: enough for a tree of some ten million names. */
const WORKER_HEAP = 4096;

// Node runs this file as it is, or compiled: the worker's program has the same suffix.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './unpack-worker.ts' : './unpack-worker.js',
  import.meta.url,
);

/** Worker threads that write and delete layers, started when there is work. */
export class UnpackPool implements AsyncDisposable {
  readonly #idleTime: number;
  readonly #permits: Semaphore;
  readonly #idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  readonly #all = new Set<Worker>();

  constructor(options: UnpackPoolOptions = {}) {
    this.#permits = new Semaphore(options.size ?? Math.min(availableParallelism(), 4));
    this.#idleTime = options.idle ?? 10_000;
  }

  /** Unpacks a layer. To stop it, abandon its shared progress. */
  async unpack(job: UnpackJob, signal: AbortSignal): Promise<UnpackedLayer> {
    const layer = await this.#perform({ kind: 'unpack', job }, signal);
    if (layer !== undefined) return layer;
    throw new KeelsonError('INTERNAL', 'Cannot unpack layer', { reason: 'no answer' });
  }

  /** Completes a layer with what those below it have. */
  async settle(job: SettleJob): Promise<void> {
    await this.#perform({ kind: 'settle', job });
  }

  /** Deletes a directory and all below it. */
  async remove(path: string): Promise<void> {
    await this.#perform({ kind: 'remove', path });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  async #perform(task: WorkerTask, signal?: AbortSignal): Promise<UnpackedLayer | undefined> {
    using _ = await this.#permits.acquire(signal);
    const worker = this.#take();
    const answer = await ask(worker, task);
    this.#rest(worker);
    if (answer.ok) return answer.layer;
    // The message is whole already: it was made by an error of this kind.
    throw new KeelsonError(answer.code, answer.message);
  }

  #take(): Worker {
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      clearTimeout(idle.timer);
      idle.worker.ref();
      return idle.worker;
    }
    const worker = new Worker(PROGRAM, {
      name: 'keelson-unpack',
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP },
    });
    this.#all.add(worker);
    worker.once('exit', () => this.#all.delete(worker));
    return worker;
  }

  #rest(worker: Worker): void {
    if (!this.#all.has(worker)) return;
    worker.unref();
    const timer = setTimeout(() => {
      const index = this.#idle.findIndex((idle) => idle.worker === worker);
      if (index >= 0) this.#idle.splice(index, 1);
      void worker.terminate();
    }, this.#idleTime);
    this.#idle.push({ worker, timer: timer.unref() });
  }
}

function ask(worker: Worker, task: WorkerTask): Promise<WorkerAnswer> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
      act();
    };
    const onMessage = (answer: WorkerAnswer) => settle(() => resolve(answer));
    const onError = (cause: Error) => settle(() => reject(workerFailure(cause)));
    const onExit = () => settle(() => reject(workerFailure(new Error('the worker ended'))));
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    worker.postMessage(task);
  });
}

function workerFailure(cause: Error): KeelsonError {
  const full = 'code' in cause && cause.code === 'ERR_WORKER_OUT_OF_MEMORY';
  return new KeelsonError(full ? 'RESOURCE_EXHAUSTED' : 'INTERNAL', 'Cannot unpack layer', {
    cause,
    ...(full ? { reason: 'it has more entries than the memory holds' } : {}),
  });
}
