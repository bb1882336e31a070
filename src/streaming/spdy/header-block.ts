import { malformed } from './frames.ts';

export type Headers = ReadonlyMap<string, string>;

/** More pairs than any client sends; each stream has two or three. */
const PAIR_LIMIT = 64;

/**
 * Reads a header block in plain form: u32 count, and for each pair u32 length and name,
 * u32 length and value. Names are lower-case and do not repeat.
 */
export function parseHeaderBlock(plain: Buffer): Headers {
  let offset = 0;
  const number = () => {
    if (plain.length - offset < 4) throw malformed('a header block ends too early');
    offset += 4;
    return plain.readUInt32BE(offset - 4);
  };
  const string = () => {
    const length = number();
    if (plain.length - offset < length) throw malformed('a header block ends too early');
    offset += length;
    return plain.toString('utf8', offset - length, offset);
  };
  const headers = new Map<string, string>();
  const count = number();
  if (count > PAIR_LIMIT) throw malformed(`a header block has ${count} pairs`);
  for (let i = 0; i < count; i++) {
    const name = string();
    if (name === '' || name !== name.toLowerCase() || headers.has(name)) {
      throw malformed('a header name is empty, in upper case or there twice');
    }
    headers.set(name, string());
  }
  if (offset !== plain.length) throw malformed('a header block goes on after its last pair');
  return headers;
}
