import { type FollowOptions, readLog } from './log-follow.ts';
import { LineCutter, parseLogEntry } from './log-lines.ts';
import type { Output } from './output.ts';
import { print } from './output.ts';

export interface LogOptions extends FollowOptions {
  /** Only entries from this time on, Unix milliseconds. */
  readonly since: number | undefined;
  /** Put the time before each line. */
  readonly timestamps: boolean;
  readonly stdout: Output;
  readonly stderr: Output;
}

/** Writes what a container wrote: its stdout to `stdout`, its stderr to `stderr`. */
export async function printLog(path: string, options: LogOptions): Promise<void> {
  const cutter = new LineCutter();
  const open = { stdout: false, stderr: false };
  for await (const chunk of readLog(path, options)) {
    const lines = 'bytes' in chunk ? cutter.push(chunk.bytes) : [cutter.rest() ?? []].flat();
    const out = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    for (const line of lines) render(line, options, open, out);
    for (const name of ['stdout', 'stderr'] as const) {
      if (out[name].length > 0) await print(options[name], Buffer.concat(out[name]));
    }
    options.signal.throwIfAborted();
  }
}

type Streams<T> = Record<'stdout' | 'stderr', T>;

/** `open` says which streams are in the middle of a line. */
function render(
  line: Buffer,
  options: LogOptions,
  open: Streams<boolean>,
  out: Streams<Buffer[]>,
): void {
  const entry = parseLogEntry(line);
  if (entry === undefined) {
    // Not written by a CRI runtime: shown as it is.
    out.stdout.push(line, Buffer.from('\n'));
    return;
  }
  const { stream, time, partial, content } = entry;
  if (options.since !== undefined && Date.parse(time) < options.since) return;
  if (options.timestamps && !open[stream]) out[stream].push(Buffer.from(`${time} `));
  out[stream].push(content);
  if (!partial) out[stream].push(Buffer.from('\n'));
  open[stream] = partial;
}
