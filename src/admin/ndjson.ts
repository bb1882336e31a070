import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** Answers with one JSON value a line. The client's leaving ends it. */
export async function writeLines(
  response: ServerResponse,
  values: AsyncIterable<unknown>,
): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.flushHeaders();
  for await (const value of values) {
    if (response.destroyed) return;
    if (!response.write(`${JSON.stringify(value)}\n`)) {
      await Promise.race([once(response, 'drain'), once(response, 'close')]);
    }
  }
  response.end();
}

/** Aborts when the client of a response has gone. */
export function untilClosed(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return gone.signal;
}
