import { parse } from 'smol-toml';

/**
 * The line (from 1) of the statement that brings the key at `path` into a TOML document.
 *
 * TOML libraries drop positions, so this asks the parser itself: the statement is in the
 * first beginning of the document that parses and has the key. Meant for error messages:
 * it parses as often as the document has lines.
 */
export function lineOfKey(document: string, path: readonly PropertyKey[]): number | undefined {
  const lines = document.split('\n');
  let statement = 0;
  for (let count = 1; count <= lines.length; count++) {
    const parsed = tryParse(lines.slice(0, count).join('\n'));
    if (parsed === undefined) continue;
    if (has(parsed, path)) return firstLine(lines, statement) + 1;
    statement = count;
  }
  return undefined;
}

function tryParse(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}

function has(value: unknown, path: readonly PropertyKey[]): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return true;
}

function firstLine(lines: readonly string[], from: number): number {
  let line = from;
  while (/^\s*(#.*)?$/.test(lines[line] ?? 'end')) line++;
  return line;
}
