import { malformed, type TarHeader } from './tar-header.ts';
import { decimal, type PaxRecords, paxTime } from './tar-pax.ts';

export type TarEntryType =
  | 'file'
  | 'link'
  | 'symlink'
  | 'character'
  | 'block'
  | 'directory'
  | 'fifo';

/** One file of an archive. Names are byte strings: one character for each byte. */
export interface TarEntry {
  type: TarEntryType;
  name: string;
  linkName: string;
  /** Permissions with set-uid, set-gid and sticky bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of the file, holes included. */
  size: number;
  mtime: { seconds: number; nanoseconds: number };
  major: number;
  minor: number;
  xattrs: [name: string, value: Buffer][];
}

const TYPES: Record<string, TarEntryType> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
};

/** Types without content, whatever size their header states. */
const WITHOUT_CONTENT = new Set(['1', '2', '3', '4', '5', '6']);

/** What the records before a header say of the entry beside it. */
export interface Overrides {
  pax?: PaxRecords;
  longName?: string;
  longLink?: string;
}

/** Bytes that follow a header in the archive, given the size that it or its records state. */
export function storedSize(header: TarHeader, stated: number): number {
  return WITHOUT_CONTENT.has(header.flag) ? 0 : stated;
}

/** Puts together what a header and the records before it say. */
export function describeEntry(header: TarHeader, { pax, longName, longLink }: Overrides): TarEntry {
  // An empty value takes a keyword back (pax(1)).
  const value = (key: string) => pax?.values.get(key) || undefined;
  const number = (key: string, otherwise: number) => {
    const digits = value(key);
    return digits === undefined ? otherwise : decimal(digits, key);
  };
  const name = longName ?? value('path') ?? header.name;
  const type = typeOf(header, name);
  const time = value('mtime');
  return {
    type,
    name,
    linkName: longLink ?? value('linkpath') ?? header.linkName,
    mode: header.mode,
    uid: number('uid', header.uid),
    gid: number('gid', header.gid),
    size: number('size', header.size),
    mtime: time === undefined ? { seconds: header.mtime, nanoseconds: 0 } : paxTime(time),
    major: header.major,
    minor: header.minor,
    xattrs: pax?.xattrs ?? [],
  };
}

function typeOf(header: TarHeader, name: string): TarEntryType {
  const type = TYPES[header.flag];
  if (type === undefined) {
    throw malformed(
      `entry ${JSON.stringify(name.slice(0, 200))} has type ${JSON.stringify(header.flag)}, which no layer may hold`,
    );
  }
  // Writers before ustar marked directories only by the slash.
  return header.flag === '\0' && name.endsWith('/') ? 'directory' : type;
}

/** PAX sparse formats keep the real name and size in records of their own. */
export function applySparseNames(entry: TarEntry, pax: PaxRecords): void {
  const name = pax.values.get('GNU.sparse.name');
  const size = pax.values.get('GNU.sparse.realsize') ?? pax.values.get('GNU.sparse.size');
  if (name) entry.name = name;
  if (size !== undefined) entry.size = decimal(size, 'the size of a sparse file');
}
