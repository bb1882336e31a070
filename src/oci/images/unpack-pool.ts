import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { KeelsonError, Semaphore } from '../../base/index.ts';
import type { Gunzip } from './decompress.ts';
import type { WrittenLayer } from './layer-files.ts';
import type { SharedProgress } from './shared-progress.ts';
import type { UnpackJob } from './unpack-layer.ts';
import type { WorkerAnswer, WorkerSettings, WorkerTaskKind, WorkerTasks } from './worker-tasks.ts';

export interface UnpackPoolOptions {
  /** Workers at most. Default: one for each core, four at most. */
  size?: number;
  /** Milliseconds after which a worker without work ends, to give its memory back. Default 10,000. */
  idle?: number;
  /** What decompresses gzip. Default `auto`. */
  gunzip?: Gunzip;
}

/** Megabytes of JavaScript objects in one worker: enough for a tree of some ten million names. */
const WORKER_HEAP = 4096;

// Node runs this file as it is, or compiled: the worker's program has the same suffix.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './unpack-worker.ts' : './unpack-worker.js',
  import.meta.url,
);

/** Worker threads for what would hold the event loop up, started when there is work. */
export class UnpackPool implements AsyncDisposable {
  readonly #size: number;
  readonly #idleTime: number;
  readonly #gunzip: Gunzip;
  readonly #permits: Semaphore;
  readonly #idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  readonly #all = new Set<Worker>();

  constructor(options: UnpackPoolOptions = {}) {
    this.#size = options.size ?? Math.min(availableParallelism(), 4);
    this.#permits = new Semaphore(this.#size);
    this.#idleTime = options.idle ?? 10_000;
    this.#gunzip = options.gunzip ?? 'auto';
  }

  /** Starts workers for tasks that will come soon: it takes a good tenth of a second. */
  warm(tasks: number): void {
    for (let n = this.#all.size; n < Math.min(tasks, this.#size); n++) this.#rest(this.#start());
  }

  /** Unpacks a layer as far as `progress` says that its blob is there, to the end or until the signal. */
  async unpack(
    job: Omit<UnpackJob, 'progress'>,
    progress: SharedProgress,
    signal: AbortSignal,
  ): Promise<WrittenLayer> {
    const stop = () => progress.abandon();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return await this.perform('unpack', { ...job, progress: progress.buffer }, signal);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Has a worker do something. The signal counts until a worker is free. */
  async perform<Kind extends WorkerTaskKind>(
    kind: Kind,
    job: WorkerTasks[Kind]['job'],
    signal?: AbortSignal,
  ): Promise<WorkerTasks[Kind]['result']> {
    using _ = await this.#permits.acquire(signal);
    const worker = this.#take();
    const answer = await ask(worker, { kind, job });
    this.#rest(worker);
    if (answer.ok) return answer.result;
    // The message is whole already: it was made by an error of this kind.
    throw new KeelsonError(answer.code, answer.message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    await Promise.all([...this.#all].map((worker) => worker.terminate()));
  }

  #take(): Worker {
    const idle = this.#idle.pop();
    if (idle !== undefined) {
      clearTimeout(idle.timer);
      idle.worker.ref();
      return idle.worker;
    }
    return this.#start();
  }

  #start(): Worker {
    const workerData: WorkerSettings = { compileCache: compileCache(), gunzip: this.#gunzip };
    const worker = new Worker(PROGRAM, {
      name: 'keelson-unpack',
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP },
    });
    this.#all.add(worker);
    worker.once('exit', () => this.#forget(worker));
    // Whoever has given it a task hears of it, too.
    worker.on('error', () => {});
    return worker;
  }

  #rest(worker: Worker): void {
    if (!this.#all.has(worker)) return;
    worker.unref();
    const timer = setTimeout(() => {
      this.#forget(worker);
      void worker.terminate();
    }, this.#idleTime);
    this.#idle.push({ worker, timer: timer.unref() });
  }

  #forget(worker: Worker): void {
    this.#all.delete(worker);
    const index = this.#idle.findIndex((idle) => idle.worker === worker);
    if (index >= 0) clearTimeout(this.#idle.splice(index, 1)[0]?.timer);
  }
}

/** The directory that the compile cache was enabled with; Node answers one of its own within. */
function compileCache(): string | undefined {
  const directory = getCompileCacheDir();
  return directory === undefined ? undefined : dirname(directory);
}

function ask<Kind extends WorkerTaskKind>(
  worker: Worker,
  task: { kind: Kind; job: WorkerTasks[Kind]['job'] },
): Promise<
  { ok: true; result: WorkerTasks[Kind]['result'] } | Extract<WorkerAnswer, { ok: false }>
> {
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
