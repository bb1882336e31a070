import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { KeelsonError, Semaphore } from '../base/index.ts';
import type { DescriptorUsage } from './descriptor-usage.ts';
import type { DirectoryUsage } from './directory-usage.ts';
import { type Measured, type MeasureTask, measure } from './measure-tasks.ts';

/** So many files are looked at here: fewer than starting a worker costs. */
const HERE = 500;

// Node runs this file as it is, or compiled: the worker's program has the same suffix.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './measure-worker.ts' : './measure-worker.js',
  import.meta.url,
);

/**
 * Measures directories and open files. What has many of them is left to a worker thread, so
 * that the event loop keeps its breath; it ends when there is nothing left to measure.
 */
export class Measuring implements AsyncDisposable {
  readonly #turn = new Semaphore(1);
  #waiting = 0;
  #worker: Worker | undefined;

  /** Undefined if there is no such directory. */
  async directory(path: string): Promise<DirectoryUsage | undefined> {
    return (await this.#measure({ kind: 'directory', path })) as DirectoryUsage | undefined;
  }

  /** What the processes have open; one that is gone has nothing. */
  async descriptors(pids: readonly number[]): Promise<DescriptorUsage> {
    return (await this.#measure({ kind: 'descriptors', pids })) as DescriptorUsage;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  async #measure(task: MeasureTask): Promise<Measured> {
    const here = await measure(task, HERE);
    return here === 'beyond' ? this.#inWorker(task) : here;
  }

  async #inWorker(task: MeasureTask): Promise<Measured> {
    this.#waiting++;
    try {
      using _ = await this.#turn.acquire();
      this.#worker ??= new Worker(PROGRAM, { name: 'keelson-measure' });
      return await ask(this.#worker, task);
    } catch (error) {
      // Nothing more can be had from it.
      this.#end();
      throw error;
    } finally {
      this.#waiting--;
      if (this.#waiting === 0) this.#end();
    }
  }

  #end(): void {
    void this.#worker?.terminate();
    this.#worker = undefined;
  }
}

async function ask(worker: Worker, task: MeasureTask): Promise<Measured> {
  const ended = new AbortController();
  const { signal } = ended;
  worker.postMessage(task);
  try {
    const exit = once(worker, 'exit', { signal }).then(() => {
      throw new KeelsonError('INTERNAL', 'Cannot measure', { reason: 'the worker ended' });
    });
    const [answer] = (await Promise.race([once(worker, 'message', { signal }), exit])) as [
      Measured,
    ];
    return answer;
  } finally {
    ended.abort();
  }
}
