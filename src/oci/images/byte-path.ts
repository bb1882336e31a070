/**
 * Names in archives are bytes in no particular encoding. They are kept as byte strings, one
 * character (U+0000 to U+00FF) for each byte, which compare and split like other strings.
 */
export type ByteString = string;

/** A path for the kernel: a string where it is plain ASCII, which is faster, else bytes. */
export type SystemPath = string | Buffer;

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant.
const ASCII = /^[\x00-\x7f]*$/;

/** The path of `relative` in the directory `root`; without one, `relative` itself. */
export function systemPath(root: string | undefined, relative: ByteString): SystemPath {
  const prefix = root === undefined ? '' : relative === '' ? root : `${root}/`;
  if (ASCII.test(relative)) return prefix + relative;
  return Buffer.concat([Buffer.from(prefix), Buffer.from(relative, 'latin1')]);
}

/** A byte string for people: read as UTF-8, quoted, and shortened. */
export function quoteBytes(bytes: ByteString): string {
  const readable = Buffer.from(bytes, 'latin1').toString('utf8');
  return JSON.stringify(readable.length > 200 ? `${readable.slice(0, 200)}…` : readable);
}
