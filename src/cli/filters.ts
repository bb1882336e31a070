import type { Command } from 'commander';
import { usageError } from './failures.ts';

/** The filters that `pods`, `ps`, `inspect` and `inspectp` share. */
export interface ListFilters {
  id?: string;
  name?: RegExp;
  namespace?: RegExp;
  label?: Record<string, string>;
  latest?: boolean;
  last?: number;
}

/** Adds the options behind `ListFilters`. */
export function filterOptions(command: Command, what: string): Command {
  return command
    .option('--name <regex>', `only ${what} whose name matches`, pattern)
    .option('--namespace <regex>', 'only those whose pod namespace matches', pattern)
    .option('--label <key=value>', 'only those with this label (may be repeated)', label)
    .option('-l, --latest', 'only the one created last')
    .option('-n, --last <count>', 'only the last ones created, 0 for all', count);
}

export const NAME_LABEL = 'io.kubernetes.pod.name';
export const NAMESPACE_LABEL = 'io.kubernetes.pod.namespace';
export const UID_LABEL = 'io.kubernetes.pod.uid';
export const CONTAINER_NAME_LABEL = 'io.kubernetes.container.name';

/** A regular expression of the command line. */
export function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (cause) {
    throw usageError(`"${text}" is no regular expression: ${String(cause)}`);
  }
}

/** Gathers repeated `KEY=VALUE`. */
export function label(
  text: string,
  before: Record<string, string> | undefined,
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw usageError(`"${text}" is no label: write KEY=VALUE`);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Gathers repeated values. */
export function repeated(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** A number of things. */
export function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw usageError(`"${text}" is no number`);
  return Number(text);
}

/** One of the states a user may name, in any case. */
export function stateOption<T>(states: Readonly<Record<string, T>>): (text: string) => T {
  return (text) => {
    const state = states[text.toLowerCase()];
    if (state !== undefined) return state;
    throw usageError(`"${text}" is no state: write one of ${Object.keys(states).join(', ')}`);
  };
}

/** The newest first, as many as asked for. */
export function newest<T extends { createdAt: bigint }>(
  items: readonly T[],
  filters: Pick<ListFilters, 'latest' | 'last'>,
): T[] {
  const sorted = items.toSorted((a, b) => Number(b.createdAt - a.createdAt));
  if (filters.latest) return sorted.slice(0, 1);
  return filters.last ? sorted.slice(0, filters.last) : sorted;
}
