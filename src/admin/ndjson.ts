import type { ServerResponse } from 'node:http';
import { writeAll } from './answers.ts';

/** Answers with one JSON value a line. The client's leaving ends it. */
export async function writeLines(
  response: ServerResponse,
  values: AsyncIterable<unknown>,
): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  response.flushHeaders();
  await writeAll(response, lines(values));
}

async function* lines(values: AsyncIterable<unknown>): AsyncGenerator<string> {
  for await (const value of values) yield `${JSON.stringify(value)}\n`;
}
