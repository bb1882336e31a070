import type { Duplex } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';

/**
 * Joins two streams: what one says the other hears, and the end of one direction leaves the
 * other open. Resolves when both directions have ended. When one fails or the signal
 * aborts, both streams are destroyed and it rejects.
 */
export async function splice(a: Duplex, b: Duplex, signal: AbortSignal): Promise<void> {
  try {
    await Promise.all([copy(a, b, signal), copy(b, a, signal)]);
  } catch (error) {
    a.destroy();
    b.destroy();
    throw error;
  }
}

async function copy(from: Duplex, to: Duplex, signal: AbortSignal): Promise<void> {
  await pipeline(from, to, { signal, end: false });
  to.end();
  await finished(to, { readable: false, signal });
}
