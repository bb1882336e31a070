import { KeelsonError } from '../../base/index.ts';

/** Bytes per second below which a transfer counts as stalled, though a byte may come now and then. */
const SLOWEST = 1024;

/** A transfer that would go on for hours: that it gets on counts for nothing. */
export class SlowTransfer extends KeelsonError {
  constructor(bytes: number, milliseconds: number) {
    super('UNAVAILABLE', 'Cannot reach registry', {
      reason: `the transfer is too slow: ${bytes} bytes in ${Math.round(milliseconds / 1000)} s`,
    });
  }
}

/**
 * The chunks of a body. Fails with SlowTransfer when less than 1 KiB/s came while somebody
 * waited for them for `window` milliseconds; the time that is spent on chunks does not count.
 */
export async function* paced(body: AsyncIterable<Buffer>, window: number): AsyncGenerator<Buffer> {
  let received = 0;
  let waited = 0;
  let since = performance.now();
  for await (const chunk of body) {
    received += chunk.length;
    waited += performance.now() - since;
    if (waited >= window) {
      if (received < (SLOWEST * waited) / 1000) throw new SlowTransfer(received, waited);
      received = 0;
      waited = 0;
    }
    yield chunk;
    since = performance.now();
  }
}
