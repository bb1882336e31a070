/** One entry of a container log in the format of CRI: `TIME STREAM TAGS CONTENT`. */
export interface LogEntry {
  /** RFC 3339, as written. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** The line goes on in the next entry of this stream. */
  readonly partial: boolean;
  readonly content: Buffer;
}

const NEWLINE = 0x0a;
const HEAD =
  /^(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([A-Z]+(?::[A-Z]+)*)(?: |$)/;
/** No head is longer: time, stream and tags. */
const LONGEST_HEAD = 80;

/** The parts of an entry without its newline; undefined if it is none. */
export function parseLogEntry(line: Buffer): LogEntry | undefined {
  const match = HEAD.exec(line.toString('latin1', 0, LONGEST_HEAD));
  if (match === null) return undefined;
  const [head, time, stream, tags] = match;
  return {
    time: time ?? '',
    stream: stream === 'stderr' ? 'stderr' : 'stdout',
    partial: tags?.split(':')[0] === 'P',
    content: line.subarray(head.length),
  };
}

/** Cuts bytes into lines; what follows the last newline waits for more. */
export class LineCutter {
  #rest: Buffer[] = [];

  *push(chunk: Buffer): Generator<Buffer> {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const line = chunk.subarray(start, end);
      yield this.#rest.length === 0 ? line : Buffer.concat([...this.#rest, line]);
      this.#rest = [];
      start = end + 1;
    }
    // Copied, so that a short rest does not keep the whole chunk alive.
    if (start < chunk.length) this.#rest.push(Buffer.from(chunk.subarray(start)));
  }

  /** What has no newline yet, given up: the file was replaced or is at its end. */
  rest(): Buffer | undefined {
    const rest = this.#rest.length === 0 ? undefined : Buffer.concat(this.#rest);
    this.#rest = [];
    return rest;
  }
}
