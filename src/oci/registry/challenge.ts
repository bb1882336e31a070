/** One scheme that a server offers in WWW-Authenticate (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  scheme: string;
  parameters: Record<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~\w-]+/y;
const PARAMETER = /[\s,]*([!#$%&'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))/y;

/** Reads the challenges of one or more WWW-Authenticate headers. What cannot be read is left out. */
export function parseChallenges(header: string | string[] | undefined): Challenge[] {
  return [header ?? []].flat().flatMap(parseOne);
}

function parseOne(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const found = pattern.exec(header);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  for (;;) {
    match(/[\s,]*/y);
    const scheme = match(TOKEN)?.[0];
    if (scheme === undefined) return challenges;
    const parameters: Record<string, string> = {};
    for (let found = match(PARAMETER); found !== null; found = match(PARAMETER)) {
      const [, name = '', quoted, bare = ''] = found;
      parameters[name.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? bare;
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
}
