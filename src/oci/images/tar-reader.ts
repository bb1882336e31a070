import {
  BLOCK,
  isZeroBlock,
  malformed,
  numeric,
  positive,
  readHeader,
  type TarHeader,
  text,
} from './tar-header.ts';
import { decimal, type Fragment, type PaxRecords, parsePax, paxTime } from './tar-pax.ts';
import {
  gnuFragments,
  hasLeadingMap,
  LeadingMap,
  paxFragments,
  verifyFragments,
} from './tar-sparse.ts';

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

/** Takes what a reader finds. `data` may be called any number of times between `entry` and `endEntry`. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** Bytes `start` to `end` of `chunk` belong at `position` of the file. `chunk` is valid during the call. */
  data(chunk: Buffer, start: number, end: number, position: number): void;
  endEntry(): void;
}

/** Bytes of one PAX header or long name. */
const MAX_METADATA = 1024 * 1024;
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
const LINKS_AND_NODES = new Set(['1', '2', '3', '4', '5', '6']);

type State = 'header' | 'metadata' | 'sparse-blocks' | 'map' | 'content' | 'padding' | 'end';

/**
 * Reads a tar archive that is pushed in chunks of any size: v7, ustar, GNU and PAX, with
 * long names, sparse files of all four forms and extended attributes. Global PAX headers
 * are skipped, as by other container engines. What follows the end marker is ignored.
 * Everything that no writer makes fails with INVALID_ARGUMENT.
 */
export class TarReader {
  readonly #sink: TarSink;
  readonly #block = Buffer.alloc(BLOCK);
  #carried = 0;
  #state: State = 'header';
  #zeroBlocks = 0;
  /** Bytes left of the metadata, content or padding. */
  #left = 0;
  #padding = 0;

  #metadata: Buffer = Buffer.alloc(0);
  #metadataFlag = '';
  #pax: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;

  #entry: TarEntry | undefined;
  #stored = 0;
  #fragments: Fragment[] | undefined;
  #fragment = 0;
  #map: LeadingMap | undefined;
  #position = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#state !== 'end') {
      switch (this.#state) {
        case 'content':
          at += this.#takeContent(chunk, at);
          break;
        case 'metadata':
          at += this.#takeMetadata(chunk, at);
          break;
        case 'padding':
          at += this.#takePadding(chunk, at);
          break;
        default:
          at += this.#takeBlock(chunk, at);
      }
    }
  }

  /** Says that the archive is over. Fails if it ended within an entry. */
  finish(): void {
    const clean = this.#state === 'header' && this.#carried === 0 && !this.#hasPending();
    if (this.#state !== 'end' && !clean) throw malformed('it is truncated');
  }

  #hasPending(): boolean {
    return (this.#pax ?? this.#longName ?? this.#longLink) !== undefined;
  }

  #takeBlock(chunk: Buffer, at: number): number {
    const available = chunk.length - at;
    if (this.#carried === 0 && available >= BLOCK) {
      this.#handleBlock(chunk, at);
      return BLOCK;
    }
    const taken = Math.min(BLOCK - this.#carried, available);
    chunk.copy(this.#block, this.#carried, at, at + taken);
    this.#carried += taken;
    if (this.#carried === BLOCK) {
      this.#carried = 0;
      this.#handleBlock(this.#block, 0);
    }
    return taken;
  }

  #handleBlock(block: Buffer, at: number): void {
    if (this.#state === 'sparse-blocks') return this.#addSparseBlock(block, at);
    if (this.#state === 'map') return this.#addMapBlock(block, at);
    if (isZeroBlock(block, at)) {
      this.#zeroBlocks++;
      if (this.#zeroBlocks === 2) this.#state = 'end';
      return;
    }
    if (this.#zeroBlocks > 0) throw malformed('data follows a lone zero block');
    const header = readHeader(block, at);
    switch (header.flag) {
      case 'x':
      case 'g':
      case 'L':
      case 'K':
        return this.#beginMetadata(header);
      default:
        return this.#beginEntry(header, block, at);
    }
  }

  #beginMetadata(header: TarHeader): void {
    if (header.size > MAX_METADATA) throw malformed('a name or PAX header is larger than 1 MiB');
    this.#metadataFlag = header.flag;
    this.#metadata = Buffer.allocUnsafe(header.size);
    this.#left = header.size;
    this.#padding = paddingOf(header.size);
    if (header.size === 0) this.#endMetadata();
    else this.#state = 'metadata';
  }

  #takeMetadata(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    chunk.copy(this.#metadata, this.#metadata.length - this.#left, at, at + taken);
    this.#left -= taken;
    if (this.#left === 0) this.#endMetadata();
    return taken;
  }

  #endMetadata(): void {
    const body = this.#metadata;
    if (this.#metadataFlag === 'x') this.#pax = parsePax(body);
    if (this.#metadataFlag === 'L') this.#longName = text(body, 0, body.length);
    if (this.#metadataFlag === 'K') this.#longLink = text(body, 0, body.length);
    this.#pad();
  }

  #beginEntry(header: TarHeader, block: Buffer, at: number): void {
    const pax = this.#pax;
    const entry = describe(header, pax, this.#longName, this.#longLink);
    this.#entry = entry;
    this.#stored = LINKS_AND_NODES.has(header.flag) ? 0 : entry.size;
    if (entry.type !== 'file') entry.size = 0;
    this.#fragments = undefined;
    this.#map = undefined;
    this.#pax = this.#longName = this.#longLink = undefined;
    this.#padding = paddingOf(this.#stored);
    if (header.flag === 'S') {
      const { fragments, more } = gnuFragments(block, at + 386, 4);
      entry.size = positive(numeric(block, at + 483, 12), 'size');
      this.#fragments = fragments;
      if (more) {
        this.#state = 'sparse-blocks';
        return;
      }
    } else if (pax !== undefined && entry.type === 'file') {
      applySparseNames(entry, pax);
      this.#fragments = paxFragments(pax);
      if (hasLeadingMap(pax)) {
        this.#map = new LeadingMap();
        this.#left = this.#stored;
        this.#state = 'map';
        return;
      }
    }
    this.#beginContent();
  }

  #addSparseBlock(block: Buffer, at: number): void {
    const { fragments, more } = gnuFragments(block, at, 21);
    this.#fragments?.push(...fragments);
    if ((this.#fragments?.length ?? 0) > 1_000_000) throw malformed('a sparse map is too long');
    if (!more) this.#beginContent();
  }

  #addMapBlock(block: Buffer, at: number): void {
    if (this.#left < BLOCK) throw malformed('a sparse map is truncated');
    this.#left -= BLOCK;
    this.#stored -= BLOCK;
    const fragments = this.#map?.add(block, at, BLOCK);
    if (fragments === undefined) return;
    this.#fragments = fragments;
    this.#beginContent();
  }

  #beginContent(): void {
    const entry = this.#entry;
    if (entry === undefined) return;
    if (this.#fragments !== undefined) verifyFragments(this.#fragments, entry.size, this.#stored);
    this.#left = this.#stored;
    this.#fragment = 0;
    this.#position = 0;
    this.#sink.entry(entry);
    if (this.#left === 0) this.#endContent();
    else this.#state = 'content';
  }

  #takeContent(chunk: Buffer, at: number): number {
    let taken = Math.min(this.#left, chunk.length - at);
    if (this.#fragments === undefined) {
      const isFile = this.#entry?.type === 'file';
      if (isFile) this.#sink.data(chunk, at, at + taken, this.#position);
      this.#position += taken;
    } else {
      taken = this.#takeFragment(this.#fragments, chunk, at, taken);
    }
    this.#left -= taken;
    if (this.#left === 0) this.#endContent();
    return taken;
  }

  /** `#position` counts the bytes taken of the current fragment. */
  #takeFragment(fragments: readonly Fragment[], chunk: Buffer, at: number, most: number): number {
    const fragment = fragments[this.#fragment];
    if (fragment === undefined) throw malformed('a sparse map is too short');
    const taken = Math.min(most, fragment.length - this.#position);
    if (taken > 0) this.#sink.data(chunk, at, at + taken, fragment.offset + this.#position);
    this.#position += taken;
    if (this.#position === fragment.length) {
      this.#fragment++;
      this.#position = 0;
    }
    return taken;
  }

  #endContent(): void {
    this.#entry = undefined;
    this.#sink.endEntry();
    this.#pad();
  }

  #pad(): void {
    this.#left = this.#padding;
    this.#state = this.#left === 0 ? 'header' : 'padding';
  }

  #takePadding(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#left, chunk.length - at);
    this.#left -= taken;
    if (this.#left === 0) this.#state = 'header';
    return taken;
  }
}

function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function describe(
  header: TarHeader,
  pax: PaxRecords | undefined,
  longName: string | undefined,
  longLink: string | undefined,
): TarEntry {
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

function applySparseNames(entry: TarEntry, pax: PaxRecords): void {
  const name = pax.values.get('GNU.sparse.name');
  const size = pax.values.get('GNU.sparse.realsize') ?? pax.values.get('GNU.sparse.size');
  if (name) entry.name = name;
  if (size !== undefined) entry.size = decimal(size, 'the size of a sparse file');
}
