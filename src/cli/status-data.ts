import type { Context } from './context.ts';
import { printable } from './human.ts';
import { type Format, print, printData } from './output.ts';

/**
 * What an inspect command shows for one thing: the status, and what the daemon adds of
 * its own, whose values are JSON or plain text.
 */
export function statusData(
  status: unknown,
  info: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const extra = Object.entries(info).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return { status, ...Object.fromEntries(extra.map(([key, value]) => [key, parsed(value)])) };
}

function parsed(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value.replace(/^"|"$/g, '');
  }
}

/** One thing by itself, several as a list. */
export async function printStatuses(
  context: Context,
  format: Exclude<Format, 'table'>,
  statuses: readonly unknown[],
): Promise<void> {
  if (statuses.length === 0) return;
  await printData(context.stdout, format, statuses.length === 1 ? statuses[0] : statuses);
}

/** Lines of `Name: value` and sorted maps below a headline. */
export async function printDetails(
  context: Context,
  details: readonly (readonly [name: string, value: string | Readonly<Record<string, string>>])[],
): Promise<void> {
  const lines = details.flatMap(([name, value]) => {
    if (typeof value === 'string') return [`${name}: ${printable(value)}`];
    const rows = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return rows.length === 0
      ? []
      : [`${name}:`, ...rows.map(([key, text]) => `\t${printable(key)} -> ${printable(text)}`)];
  });
  await print(context.stdout, lines.map((line) => `${line}\n`).join(''));
}
