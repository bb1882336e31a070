import { sleep } from '../base/index.ts';
import type { ImageStore, PullProgress } from '../oci/images/index.ts';
import type { Exchange } from './exchange.ts';
import { writeLines } from './ndjson.ts';

/** Milliseconds between two looks. */
const INTERVAL = 100;

/** The pulls under way, again and again until the client has seen enough. */
export async function streamPulls(
  images: ImageStore,
  { response, signal }: Exchange,
): Promise<void> {
  await writeLines(response, looks(images, signal));
}

async function* looks(images: ImageStore, signal: AbortSignal): AsyncGenerator<PullProgress[]> {
  while (!signal.aborted) {
    yield images.pulls();
    await sleep(INTERVAL, signal).catch(() => {});
  }
}
