import { humanSize } from './human.ts';
import type { Output } from './output.ts';

/** How far the download of one layer is. */
export interface LayerProgress {
  readonly digest: string;
  /** Bytes, as far as they are known. */
  readonly total: number;
  readonly done: number;
}

/** Where the state of pulls comes from: the daemon's admin socket. */
export interface PullProgressSource {
  /** All layers of an image, again and again until the signal aborts or the pull ended. */
  watch(reference: string, signal: AbortSignal): AsyncIterable<readonly LayerProgress[]>;
}

/** Shows one pull while it runs. */
interface Display extends Disposable {
  show(layers: readonly LayerProgress[]): void;
}

const TICK = 1000;

/**
 * Tells on stderr how a pull goes: bars on a terminal, plain lines elsewhere; without a
 * source only what is pulled and how long it took. A source that fails is let go.
 */
export async function withPullProgress<T>(
  output: Output,
  reference: string,
  source: PullProgressSource | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const start = performance.now();
  const ended = new AbortController();
  const watching = follow(output, reference, source, ended.signal);
  try {
    const result = await work();
    ended.abort();
    await watching;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    output.write(`Pulled ${reference} in ${seconds} s\n`);
    return result;
  } finally {
    ended.abort();
    await watching;
  }
}

async function follow(
  output: Output,
  reference: string,
  source: PullProgressSource | undefined,
  signal: AbortSignal,
): Promise<void> {
  using display = await createDisplay(output, reference, source !== undefined);
  if (source === undefined) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    return;
  }
  try {
    for await (const layers of source.watch(reference, signal)) display.show(layers);
  } catch {
    // The pull itself tells what went wrong; progress is only for the eye.
  }
}

async function createDisplay(
  output: Output,
  reference: string,
  hasLayers: boolean,
): Promise<Display> {
  if (!output.isTTY) return new Lines(output, reference);
  return hasLayers ? await createBars(output, reference) : new Clock(output, reference);
}

/** One line for the pull and one for each layer that is there. */
class Lines implements Display {
  readonly #output: Output;
  readonly #done = new Set<string>();

  constructor(output: Output, reference: string) {
    this.#output = output;
    output.write(`Pulling ${reference}\n`);
  }

  show(layers: readonly LayerProgress[]): void {
    for (const { digest, done, total } of layers) {
      if (done < total || total === 0 || this.#done.has(digest)) continue;
      this.#done.add(digest);
      this.#output.write(`Downloaded ${digest} (${humanSize(total, 3)})\n`);
    }
  }

  [Symbol.dispose](): void {}
}

/** One line that counts seconds. */
class Clock implements Display {
  readonly #output: Output;
  readonly #timer: NodeJS.Timeout;

  constructor(output: Output, reference: string) {
    this.#output = output;
    let seconds = 0;
    const draw = () => output.write(`\r\x1b[KPulling ${reference} … ${seconds++} s`);
    draw();
    this.#timer = setInterval(draw, TICK);
  }

  show(): void {}

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#output.write('\r\x1b[K');
  }
}

/** A bar for each layer. */
async function createBars(output: Output, reference: string): Promise<Display> {
  const { default: progress } = await import('cli-progress');
  output.write(`Pulling ${reference}\n`);
  const bars = new progress.MultiBar(
    {
      stream: output,
      format: '{layer} [{bar}] {percentage}% {have} of {size}',
      hideCursor: true,
      clearOnComplete: false,
    },
    progress.Presets.rect,
  );
  const known = new Map<string, ReturnType<typeof bars.create>>();
  return {
    show(layers) {
      for (const { digest, done, total } of layers) {
        const layer = digest.replace(/^sha256:/, '').slice(0, 12);
        const payload = { layer, have: humanSize(done, 3), size: humanSize(total, 3) };
        const bar = known.get(digest) ?? bars.create(total, 0, payload);
        known.set(digest, bar);
        bar.setTotal(total);
        bar.update(done, payload);
      }
    },
    [Symbol.dispose]: () => bars.stop(),
  };
}
