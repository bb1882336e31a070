import { getCompileCacheDir } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { codeOf, KeelsonError, messageOf, Semaphore } from '../../base/index.ts';
import { releaseFreed } from '../../linux/index.ts';
import type { Gunzip } from './decompress.ts';
import type { WrittenLayer } from './layer-files.ts';
import type { SharedProgress } from './shared-progress.ts';
import { SharedSlots } from './shared-slots.ts';
import type { UnpackJob } from './unpack-layer.ts';
import type {
  WorkerAnswer,
  WorkerMessage,
  WorkerSettings,
  WorkerTaskKind,
  WorkerTasks,
} from './worker-tasks.ts';

export interface UnpackPoolOptions {
  /** Workers at most. Default: one for each core, four at most. */
  size?: number;
  /** Milliseconds after which a worker without work ends, to give its memory back. Default 10,000. */
  idle?: number;
  /** What decompresses gzip. Default `auto`. */
  gunzip?: Gunzip;
}

/** Bytes of a blob from which on it may hold enough small files for two workers. */
const HELP_FROM = 4 * 1024 * 1024;
/** Megabytes of JavaScript objects in one worker: enough for a tree of some ten million names. */
const WORKER_HEAP = 4096;

/**
 * How a worker starts. The compile cache of the main thread does not count there: without one
 * a start takes more than twice as long, and a third longer if the first thing is a file of
 * TypeScript, which must be compiled to turn the cache on.
 */
const START = `
  const { enableCompileCache } = require('node:module');
  const { compileCache, program } = require('node:worker_threads').workerData;
  if (compileCache !== undefined) enableCompileCache(compileCache);
  import(program);`;
// Node runs this file as it is, or compiled: the worker's program has the same suffix.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './unpack-worker.ts' : './unpack-worker.js',
  import.meta.url,
).href;

/** Where a worker may help another. */
class Help {
  readonly slots = new SharedSlots();
  readonly directory: string;
  isComing = false;

  constructor(directory: string) {
    this.directory = directory;
  }
}

/** Worker threads for what would hold the event loop up, started when there is work. */
export class UnpackPool implements AsyncDisposable {
  readonly #size: number;
  readonly #idleTime: number;
  readonly #gunzip: Gunzip;
  readonly #permits: Semaphore;
  readonly #idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  readonly #all = new Set<Worker>();
  /** Layers that are being unpacked, by one worker each and any that has nothing else to do. */
  readonly #helped = new Set<Help>();

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
    job: Omit<UnpackJob, 'progress' | 'slots'>,
    progress: SharedProgress,
    signal: AbortSignal,
  ): Promise<WrittenLayer> {
    const stop = () => progress.abandon();
    signal.addEventListener('abort', stop, { once: true });
    const help = this.#size > 1 && job.size >= HELP_FROM ? new Help(job.directory) : undefined;
    try {
      const task = { ...job, progress: progress.buffer, slots: help?.slots.buffer };
      const unpacking = this.perform('unpack', task, signal);
      if (help !== undefined) this.#helped.add(help);
      this.#sendHelp();
      return await unpacking;
    } finally {
      signal.removeEventListener('abort', stop);
      if (help !== undefined) this.#helped.delete(help);
      help?.slots.dismiss();
    }
  }

  /** Has a worker do something. The signal counts until a worker is free. */
  async perform<Kind extends WorkerTaskKind>(
    kind: Kind,
    job: WorkerTasks[Kind]['job'],
    signal?: AbortSignal,
  ): Promise<WorkerTasks[Kind]['result']> {
    // Who only helps makes room.
    if (this.#permits.free === 0) for (const { slots } of this.#helped) slots.dismiss();
    try {
      return await this.#perform(kind, job, signal);
    } finally {
      this.#sendHelp();
    }
  }

  async #perform<Kind extends WorkerTaskKind>(
    kind: Kind,
    job: WorkerTasks[Kind]['job'],
    signal: AbortSignal | undefined,
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
    await Promise.all([...this.#all].map(end));
  }

  /** Has a worker that nobody needs help where a layer is being unpacked. */
  #sendHelp(): void {
    const help = [...this.#helped].find(({ isComing }) => !isComing);
    if (help === undefined || this.#permits.free === 0) return;
    help.isComing = true;
    help.slots.welcome();
    const job = { slots: help.slots.buffer, directory: help.directory };
    this.perform('help', job)
      .catch((error: unknown) => {
        help.slots.lose({ code: codeOf(error), message: messageOf(error) });
      })
      .finally(() => {
        help.isComing = false;
        this.#sendHelp();
      });
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
    const workerData: WorkerSettings = {
      program: PROGRAM,
      compileCache: compileCache(),
      gunzip: this.#gunzip,
    };
    const worker = new Worker(START, {
      eval: true,
      name: 'keelson-unpack',
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP },
    });
    this.#all.add(worker);
    worker.once('exit', () => {
      this.#forget(worker);
      // What a pull took would stay until the next one.
      if (this.#all.size === 0) releaseFreed();
    });
    // Whoever has given it a task hears of it, too.
    worker.on('error', () => {});
    return worker;
  }

  #rest(worker: Worker): void {
    if (!this.#all.has(worker)) return;
    worker.unref();
    const timer = setTimeout(() => {
      this.#forget(worker);
      void end(worker);
    }, this.#idleTime);
    this.#idle.push({ worker, timer: timer.unref() });
  }

  #forget(worker: Worker): void {
    this.#all.delete(worker);
    const index = this.#idle.findIndex((idle) => idle.worker === worker);
    if (index >= 0) clearTimeout(this.#idle.splice(index, 1)[0]?.timer);
  }
}

/**
 * Has a worker end after what it is doing. It must not be terminated: while it loads a native
 * module, or calls one, that aborts the whole process.
 */
function end(worker: Worker): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  worker.once('exit', () => resolve());
  worker.ref();
  worker.postMessage('end' satisfies WorkerMessage);
  return promise;
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
