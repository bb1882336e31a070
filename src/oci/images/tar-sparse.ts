import { malformed, numeric } from './tar-header.ts';
import { decimal, type Fragment, type PaxRecords } from './tar-pax.ts';

/** Fragments that one file may have: as many as a map of the largest metadata allows. */
const MAX_FRAGMENTS = 1_000_000;
const GNU_FRAGMENT_SIZE = 24;

/** Fragments in an old GNU header (four) or in a block that continues it (21); `more` blocks may follow. */
export function gnuFragments(
  block: Buffer,
  at: number,
  count: number,
): { fragments: Fragment[]; more: boolean } {
  const fragments: Fragment[] = [];
  for (let i = 0; i < count; i++) {
    const field = at + i * GNU_FRAGMENT_SIZE;
    if (block[field] === 0) break;
    fragments.push({ offset: numeric(block, field, 12), length: numeric(block, field + 12, 12) });
  }
  return { fragments, more: block[at + count * GNU_FRAGMENT_SIZE] === 1 };
}

/** The map of PAX formats 0.0 and 0.1; undefined if the records hold none. */
export function paxFragments(pax: PaxRecords): Fragment[] | undefined {
  const text = pax.values.get('GNU.sparse.map');
  const blocks = pax.values.get('GNU.sparse.numblocks');
  if (text === undefined && pax.sparse.length === 0 && blocks === undefined) return undefined;
  const numbers =
    text === undefined || text === ''
      ? pax.sparse
      : text.split(',').map((digits) => decimal(digits, 'a sparse offset'));
  if (blocks !== undefined && decimal(blocks, 'GNU.sparse.numblocks') * 2 !== numbers.length) {
    throw malformed('a sparse map has another length than announced');
  }
  return pairs(numbers);
}

/** PAX format 1.0: the content begins with the map. */
export function hasLeadingMap(pax: PaxRecords): boolean {
  return pax.values.get('GNU.sparse.major') === '1' && pax.values.get('GNU.sparse.minor') === '0';
}

/**
 * Collects the map that content of PAX format 1.0 begins with: decimal lines, the count of
 * fragments first, filled up to whole blocks.
 */
export class LeadingMap {
  #text = '';
  #lines = 0;
  #wanted = 1;

  /** Takes one block of content. Answers the fragments when the map is complete. */
  add(block: Buffer, at: number, length: number): Fragment[] | undefined {
    for (let i = at; i < at + length && this.#lines < this.#wanted; i++) {
      const byte = block[i] ?? 0;
      this.#text += String.fromCharCode(byte);
      if (byte === 0x0a) this.#endLine();
    }
    if (this.#lines < this.#wanted) return undefined;
    const [, ...numbers] = this.#text.trimEnd().split('\n');
    return pairs(numbers.map((digits) => decimal(digits, 'a sparse offset')));
  }

  #endLine(): void {
    this.#lines++;
    if (this.#lines > 1) return;
    const count = decimal(this.#text.trimEnd(), 'the length of a sparse map');
    if (count > MAX_FRAGMENTS) throw malformed('a sparse map is too long');
    this.#wanted = 1 + 2 * count;
  }
}

/** Fails unless the fragments are in order, within the file, and hold `stored` bytes together. */
export function verifyFragments(
  fragments: readonly Fragment[],
  size: number,
  stored: number,
): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of fragments) {
    if (offset < end || length < 0 || offset + length > size) {
      throw malformed('a sparse map is out of order or leads beyond the file');
    }
    end = offset + length;
    sum += length;
  }
  if (sum !== stored) throw malformed('a sparse map and the content differ in length');
}

function pairs(numbers: readonly number[]): Fragment[] {
  if (numbers.length % 2 !== 0) throw malformed('a sparse map has an offset without a length');
  if (numbers.length > 2 * MAX_FRAGMENTS) throw malformed('a sparse map is too long');
  return Array.from({ length: numbers.length / 2 }, (_, i) => ({
    offset: numbers[2 * i] ?? 0,
    length: numbers[2 * i + 1] ?? 0,
  }));
}
