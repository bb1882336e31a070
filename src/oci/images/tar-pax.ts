import { malformed } from './tar-header.ts';

/** A stretch of a sparse file that holds data; the rest of the file is holes. */
export interface Fragment {
  offset: number;
  length: number;
}

/** What PAX records say of the entry that follows them (pax(1), "pax Extended Header"). */
export interface PaxRecords {
  /** Values by keyword, as byte strings. */
  values: Map<string, string>;
  /** Extended attributes: `SCHILY.xattr.NAME`. */
  xattrs: [name: string, value: Buffer][];
  /** The numbers of GNU's repeated sparse keywords (format 0.0), offsets and lengths in turn. */
  sparse: number[];
}

const XATTR = 'SCHILY.xattr.';
const NAMES = new Set(['path', 'linkpath', 'GNU.sparse.name']);

/** Reads records of the form `LENGTH KEYWORD=VALUE\n`, LENGTH counting the whole record. */
export function parsePax(body: Buffer): PaxRecords {
  const records: PaxRecords = { values: new Map(), xattrs: [], sparse: [] };
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? '' : body.toString('latin1', at, space);
    const end = at + Number(digits);
    if (!/^\d{1,9}$/.test(digits) || end > body.length || end <= space || body[end - 1] !== 0x0a) {
      throw malformed('a PAX record has a wrong length');
    }
    const equals = body.indexOf(0x3d, space);
    if (equals < 0 || equals >= end) throw malformed('a PAX record has no "="');
    addRecord(
      records,
      body.toString('latin1', space + 1, equals),
      body.subarray(equals + 1, end - 1),
    );
    at = end;
  }
  return records;
}

function addRecord(records: PaxRecords, key: string, value: Buffer): void {
  if (key.startsWith(XATTR)) {
    records.xattrs.push([key.slice(XATTR.length), Buffer.from(value)]);
    return;
  }
  const string = value.toString('latin1');
  if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
    const wanted = records.sparse.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
    if (key !== wanted) throw malformed('sparse offsets and lengths do not take turns');
    records.sparse.push(decimal(string, key));
    return;
  }
  if (NAMES.has(key) && string.includes('\0')) {
    throw malformed(`${key} ${JSON.stringify(string)} holds a NUL byte`);
  }
  records.values.set(key, string);
}

/** A whole number that is not negative. */
export function decimal(digits: string, what: string): number {
  const value = Number(digits);
  if (/^\d+$/.test(digits) && Number.isSafeInteger(value)) return value;
  throw malformed(
    `${what} ${JSON.stringify(digits.slice(0, 40))} is not a number that is supported`,
  );
}

/** Seconds with a fraction, split so that no digit is lost: nanoseconds count forward also before 1970. */
export function paxTime(value: string): { seconds: number; nanoseconds: number } {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(value) ?? [];
  if (sign === undefined) throw malformed(`${JSON.stringify(value)} is not a time`);
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  const seconds = Number(whole);
  if (sign === '') return { seconds, nanoseconds };
  if (nanoseconds === 0) return { seconds: -seconds, nanoseconds };
  return { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
