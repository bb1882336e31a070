const NEWLINE = 0x0a;
const SPACE = 0x20;
const PARTIAL = 0x50; // P

/** A record of a log in the format of CRI: `TIME STREAM TAG CONTENT`, with its line break. */
interface LogRecord {
  bytes: Buffer;
  stream: string;
  /** Whether the line goes on in the next record of the stream. */
  partial: boolean;
}

/** The records of a log, from the start of one; what has no line break yet is none. */
function* recordsOf(log: Buffer): Generator<LogRecord> {
  for (let start = 0; ; ) {
    const end = log.indexOf(NEWLINE, start) + 1;
    if (end === 0) return;
    const bytes = log.subarray(start, end);
    const stream = bytes.indexOf(SPACE) + 1;
    const tag = bytes.indexOf(SPACE, stream) + 1;
    yield {
      bytes,
      stream: bytes.toString('latin1', stream, tag - 1),
      partial: bytes[tag] === PARTIAL,
    };
    start = end;
  }
}

/**
 * The streams whose last line is not whole, by the end of a log. Unless that is the whole log,
 * it may begin in the middle of a record.
 */
export function unfinishedStreams(end: Buffer, isWhole: boolean): Set<string> {
  const unfinished = new Set<string>();
  const start = isWhole ? 0 : end.indexOf(NEWLINE) + 1;
  for (const { stream, partial } of recordsOf(end.subarray(start))) {
    if (partial) unfinished.add(stream);
    else unfinished.delete(stream);
  }
  return unfinished;
}

/**
 * Parts what was logged after a log ended with unfinished lines: into the rest of those lines,
 * and all else. Undefined while one of them is still unfinished.
 */
export function partRest(
  log: Buffer,
  unfinished: ReadonlySet<string>,
): { rest: Buffer; others: Buffer } | undefined {
  const missing = new Set(unfinished);
  const rest: Buffer[] = [];
  const others: Buffer[] = [];
  let length = 0;
  for (const { bytes, stream, partial } of recordsOf(log)) {
    if (missing.size === 0) break;
    length += bytes.length;
    (missing.has(stream) ? rest : others).push(bytes);
    if (!partial) missing.delete(stream);
  }
  if (missing.size > 0) return undefined;
  return { rest: Buffer.concat(rest), others: Buffer.concat([...others, log.subarray(length)]) };
}
