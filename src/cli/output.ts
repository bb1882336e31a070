import type { Writable } from 'node:stream';
import { type Command, Option } from 'commander';
import { printable } from './human.ts';

/** Where a command writes; `process.stdout` is one. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

export type Format = 'table' | 'json' | 'yaml';

/** Adds `-o, --output`. */
export function outputOption(command: Command, fallback: Format): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'output format')
      .choices(['table', 'json', 'yaml'])
      .default(fallback),
  );
}

/** Writes and waits until the reader has room again. */
export async function print(output: Output, text: string | Uint8Array): Promise<void> {
  if (output.write(text) || output.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const events = ['drain', 'close', 'error'] as const;
  for (const event of events) output.once(event, resolve);
  await promise;
  for (const event of events) output.off(event, resolve);
}

export async function printData(
  output: Output,
  format: 'json' | 'yaml',
  data: unknown,
): Promise<void> {
  if (format === 'json') return print(output, `${JSON.stringify(data, null, 2)}\n`);
  const { stringify } = await import('yaml');
  return print(output, stringify(data, { aliasDuplicateObjects: false }));
}

/** Rows in columns as wide as they need to be, three spaces apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  const clean = rows.map((row) => row.map(printable));
  for (const row of clean) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, cell.length + 3);
    }
  }
  const lines = clean.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join('')
      .trimEnd(),
  );
  return lines.map((line) => `${line}\n`).join('');
}
