/** Names of values that nobody but their user may see. */
const SECRET = /pass(word|wd|phrase)?|secret|token|credential|auth|private|api_?key|annotations/i;

/** Characters of a JSON text that are kept. */
const LONGEST = 2048;

/**
 * A value as JSON for people to look at: what is named like a secret is hidden, at any
 * depth, and a long text is cut.
 */
export function redactedJson(value: unknown): string {
  const text = JSON.stringify(value, (key, inner: unknown) => {
    if (!SECRET.test(key)) return typeof inner === 'string' ? withoutUserinfo(inner) : inner;
    return inner === undefined || inner === null ? inner : '(hidden)';
  });
  return shortened(text ?? '', LONGEST);
}

/** The beginning of a text that is longer than `length` characters. */
export function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** `https://user:password@host` without the user and password. */
export function withoutUserinfo(text: string): string {
  return text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/)[^/@\s]*@/gi, '$1');
}
