import {
  applySparseNames,
  describeEntry,
  type Overrides,
  storedSize,
  type TarEntry,
} from './tar-entry.ts';
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
import { type Fragment, parsePax } from './tar-pax.ts';
import {
  gnuFragments,
  hasLeadingMap,
  LeadingMap,
  paxFragments,
  verifyFragments,
} from './tar-sparse.ts';

/** Takes what a reader finds. `data` may be called any number of times between `entry` and `endEntry`. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** Bytes `start` to `end` of `chunk` belong at `position` of the file. `chunk` is valid during the call. */
  data(chunk: Buffer, start: number, end: number, position: number): void;
  endEntry(): void;
}

/** Bytes of one PAX header or long name. */
const MAX_METADATA = 1024 * 1024;
/** PAX headers of one entry and of all, GNU long names and long link targets. */
const METADATA_FLAGS = new Set(['x', 'g', 'L', 'K']);
const MAX_FRAGMENTS = 1_000_000;

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
  #overrides: Overrides | undefined;

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
    const clean = this.#state === 'header' && this.#carried === 0 && this.#overrides === undefined;
    if (this.#state !== 'end' && !clean) throw malformed('it is truncated');
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
    if (this.#state === 'sparse-blocks') this.#addSparseBlock(block, at);
    else if (this.#state === 'map') this.#addMapBlock(block, at);
    else if (isZeroBlock(block, at)) this.#countZeroBlock();
    else if (this.#zeroBlocks > 0) throw malformed('data follows a lone zero block');
    else this.#handleHeader(readHeader(block, at), block, at);
  }

  #countZeroBlock(): void {
    this.#zeroBlocks++;
    if (this.#zeroBlocks === 2) this.#state = 'end';
  }

  #handleHeader(header: TarHeader, block: Buffer, at: number): void {
    if (METADATA_FLAGS.has(header.flag)) this.#beginMetadata(header);
    else this.#beginEntry(header, block, at);
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
    const overrides = this.#overrides ?? {};
    if (this.#metadataFlag === 'x') overrides.pax = parsePax(body);
    if (this.#metadataFlag === 'L') overrides.longName = text(body, 0, body.length);
    if (this.#metadataFlag === 'K') overrides.longLink = text(body, 0, body.length);
    if (this.#metadataFlag !== 'g') this.#overrides = overrides;
    this.#pad();
  }

  #beginEntry(header: TarHeader, block: Buffer, at: number): void {
    const overrides = this.#overrides ?? {};
    const { pax } = overrides;
    const entry = describeEntry(header, overrides);
    this.#entry = entry;
    this.#stored = storedSize(header, entry.size);
    if (entry.type !== 'file') entry.size = 0;
    this.#fragments = undefined;
    this.#map = undefined;
    this.#overrides = undefined;
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
    if ((this.#fragments?.length ?? 0) > MAX_FRAGMENTS) throw malformed('a sparse map is too long');
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
