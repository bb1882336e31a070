import type { FileHandle } from 'node:fs/promises';
import { parseLogEntry } from './log-lines.ts';

const BLOCK = 64 * 1024;
const NEWLINE = 0x0a;

/**
 * Where the last `lines` lines of a log begin, in bytes. An entry that goes on in the
 * next one does not count: pieces of one long line are one line.
 */
export async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines === 0) return size;
  let ended = 0;
  for await (const { start, line } of linesBackwards(file, size)) {
    // The line that ends here is whole, so what follows it is another one.
    const whole = parseLogEntry(line)?.partial !== true;
    if (whole && ended === lines) return start + line.length + 1;
    if (whole) ended++;
    else if (ended === 0) ended = 1;
  }
  return 0;
}

/** The lines of a file from its end to its beginning. */
async function* linesBackwards(
  file: FileHandle,
  size: number,
): AsyncGenerator<{ start: number; line: Buffer }> {
  let end = size;
  let later = Buffer.alloc(0);
  while (end > 0) {
    const start = Math.max(0, end - BLOCK);
    const block = Buffer.alloc(end - start);
    await file.read(block, 0, block.length, start);
    let text = Buffer.concat([block, later]);
    for (let at = text.lastIndexOf(NEWLINE); at >= 0; at = text.lastIndexOf(NEWLINE)) {
      const line = text.subarray(at + 1);
      const isEndOfFile = start + at + 1 === size;
      if (!isEndOfFile) yield { start: start + at + 1, line };
      text = text.subarray(0, at);
    }
    later = text;
    end = start;
  }
  if (later.length > 0) yield { start: 0, line: later };
}
