/** Items of one message of a streamed list: far below the limit of a message's size. */
const CHUNK = 100;

/** A list in pieces; an empty list has none. */
export function* inChunks<T>(items: readonly T[], size = CHUNK): Generator<T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
