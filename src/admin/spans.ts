import type { Exchange } from './exchange.ts';
import { writeLines } from './ndjson.ts';
import type { SpanRing } from './span-ring.ts';

/**
 * What was done lately, a span a line. With `?follow` also what is done from now on, or with
 * `?follow=new` only that; with `&starts` also spans that start, without `milliseconds`.
 */
export async function streamSpans(
  ring: SpanRing,
  { query, response, signal }: Exchange,
): Promise<void> {
  const kept = async function* () {
    yield* ring.spans;
  };
  const options = { onlyNew: query.get('follow') === 'new', starts: query.has('starts') };
  await writeLines(response, query.has('follow') ? ring.follow(signal, options) : kept());
}
