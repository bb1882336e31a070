import { KeelsonError } from '../../base/index.ts';

/** What a list call asks for. */
export interface PageRequest {
  /** 0: all. */
  readonly maxEntries: number;
  readonly startingToken: string;
}

/**
 * The part of a list that was asked for, in the order of the keys, and the token of the
 * next. Tokens stay good when entries come and go between two pages. Fails with ABORTED
 * when the token is none, as the specification wants.
 */
export function pageOf<T>(
  entries: readonly T[],
  keyOf: (entry: T) => string,
  { maxEntries, startingToken }: PageRequest,
): { entries: T[]; nextToken: string } {
  const after = startingToken === '' ? undefined : readToken(startingToken);
  const sorted = entries
    .map((entry) => ({ key: keyOf(entry), entry }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .filter(({ key }) => after === undefined || key > after);
  const page = maxEntries > 0 ? sorted.slice(0, maxEntries) : sorted;
  const last = page.at(-1);
  const more = page.length < sorted.length && last !== undefined;
  return {
    entries: page.map(({ entry }) => entry),
    nextToken: more ? writeToken(last.key) : '',
  };
}

const PREFIX = 'after:';

function writeToken(key: string): string {
  return Buffer.from(`${PREFIX}${key}`).toString('base64url');
}

function readToken(token: string): string {
  const text = Buffer.from(token, 'base64url').toString();
  if (text.startsWith(PREFIX) && writeToken(text.slice(PREFIX.length)) === token) {
    return text.slice(PREFIX.length);
  }
  throw new KeelsonError('ABORTED', `Cannot go on with the list at ${JSON.stringify(token)}`, {
    reason: 'starting_token is none that was given out',
  });
}
