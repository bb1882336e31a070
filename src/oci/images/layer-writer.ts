import { linkSync, symlinkSync } from 'node:fs';
import { makeNode, S_IF, setTimes } from '../../linux/files.ts';
import { type ByteString, quoteBytes, type SystemPath, systemPath } from './byte-path.ts';
import { setNodeMode, setPathOwner, setXattrs } from './file-attributes.ts';
import { LayerFile } from './layer-file.ts';
import { DISK_BLOCK, LayerFiles, relativePath, type WrittenLayer } from './layer-files.ts';
import {
  FILE,
  ForeignLinkNode,
  type Place,
  SymlinkNode,
  type TreeNode,
  WHITEOUT,
} from './layer-tree.ts';
import { isAufs, MARKER_PREFIX, OPAQUE_MARKER } from './markers.ts';
import { SmallFiles } from './small-files.ts';
import type { TarEntry } from './tar-entry.ts';
import type { TarSink } from './tar-reader.ts';
import { badEntry, explainEntry, tooLarge } from './unpack-errors.ts';

export interface LayerLimits {
  /** Bytes that the files of a layer may have together, holes included. */
  bytes: number;
  /** Entries of a layer's archive. */
  entries: number;
}

export interface LayerWriterOptions {
  /** The layer's directory, absolute. It is empty. */
  root: string;
  limits: LayerLimits;
  /** Fail at a device node instead of making it. */
  refuseDevices: boolean;
  /** Takes small files, to be written by several threads. Default: each is written at once. */
  smallFiles?: SmallFiles | undefined;
}

/**
 * Writes the entries of a layer's archive into a directory, in the form that overlayfs
 * takes as a lower layer (kernel documentation, filesystems/overlayfs). Works
 * synchronously, for a worker thread. Places are found through the tree in memory: all
 * directories in a path that the kernel sees were made here, so that it follows no link.
 */
export class LayerWriter implements TarSink {
  readonly #options: LayerWriterOptions;
  readonly #files: LayerFiles;
  readonly #umask = process.umask();
  #entry: TarEntry | undefined;
  /** The file being written; entries of other types have content that nobody wants. */
  #file: LayerFile | Buffer | undefined;
  /** Bytes of it that have come; the rest are holes. */
  #received = 0;
  #entries = 0;
  #claimed = 0;

  constructor(options: LayerWriterOptions) {
    this.#options = options;
    // What is taken away must have been made before.
    this.#files = new LayerFiles(options.root, () => options.smallFiles?.complete());
  }

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#count(entry);
    this.#explained(() => this.#write(entry));
  }

  data(chunk: Buffer, start: number, end: number, position: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#received += end - start;
    if (file instanceof LayerFile) {
      this.#explained(() => file.write(chunk, start, end, position));
    } else chunk.copy(file, position, start, end);
  }

  endEntry(): void {
    const [file, entry] = [this.#file, this.#entry];
    if (file === undefined || entry === undefined) return;
    this.#file = undefined;
    this.#files.addBytes((DISK_BLOCK - (entry.size % DISK_BLOCK)) % DISK_BLOCK);
    if (file instanceof LayerFile) {
      this.#files.addBytes(this.#received);
      this.#explained(() => file.finish(this.#umask));
    } else {
      this.#files.addBytes(entry.size);
      this.#options.smallFiles?.end();
    }
  }

  /** Completes the directories. To be called when the archive is over. */
  finish(): WrittenLayer {
    this.#options.smallFiles?.complete();
    return this.#files.finish();
  }

  /** Closes what is open, after a failure. No file is made from then on. */
  abandon(): void {
    if (this.#file instanceof LayerFile) this.#file.abandon();
    this.#file = undefined;
    this.#options.smallFiles?.abandon();
  }

  #count(entry: TarEntry): void {
    const { limits } = this.#options;
    this.#entries++;
    this.#claimed += entry.size;
    if (this.#entries > limits.entries) {
      throw tooLarge(`it has more than ${limits.entries} entries`);
    }
    if (this.#claimed > limits.bytes) {
      throw tooLarge(`its files have more than ${limits.bytes} bytes`);
    }
  }

  #write(entry: TarEntry): void {
    if (isAufs(entry.name)) return;
    const place = this.#files.locate(entry.name);
    if (place === undefined) this.#writeRoot(entry);
    else if (place.name.startsWith(MARKER_PREFIX)) this.#writeMarker(entry, place);
    else if (entry.type === 'directory') this.#writeDirectory(entry, place);
    else if (entry.type === 'file') this.#writeFile(entry, place);
    else if (entry.type === 'symlink') this.#writeSymlink(entry, place);
    else if (entry.type === 'link') this.#writeLink(entry, place);
    else this.#writeNode(entry, place);
  }

  #writeRoot(entry: TarEntry): void {
    if (entry.type !== 'directory') throw badEntry(entry.name, 'it would replace the root');
    this.#files.tree.root.attributes = entry;
  }

  #writeDirectory(entry: TarEntry, place: Place): void {
    const there = place.directory.children.get(place.name);
    const node = there?.kind === 'directory' ? there : this.#files.makeDirectory(place);
    node.attributes = entry;
  }

  #writeFile(entry: TarEntry, place: Place): void {
    const path = this.#files.clear(place);
    const relative = relativePath(place);
    const { smallFiles } = this.#options;
    this.#received = 0;
    this.#file =
      smallFiles !== undefined && SmallFiles.fits(relative, entry)
        ? smallFiles.begin(relative, entry)
        : new LayerFile(path, entry);
    this.#files.add(place, FILE);
  }

  #writeSymlink(entry: TarEntry, place: Place): void {
    const path = this.#files.clear(place);
    symlinkSync(systemPath(undefined, entry.linkName), path);
    this.#files.add(place, new SymlinkNode(entry.linkName));
    this.#finishNode(entry, path);
  }

  #writeLink(entry: TarEntry, place: Place): void {
    const found = this.#files.tree.find(entry.linkName);
    const foreign = foreignTarget(found?.node, entry.linkName);
    if (found === undefined || foreign !== undefined) {
      this.#files.clear(place);
      this.#files.add(place, new ForeignLinkNode(foreign ?? entry.linkName));
      return;
    }
    if (found.node.kind === 'directory' || found.node.kind === 'whiteout') {
      throw badEntry(entry.name, `its target ${quoteBytes(entry.linkName)} is not a file`);
    }
    if (found.place.directory === place.directory && found.place.name === place.name) {
      throw badEntry(entry.name, 'it is a hard link to itself');
    }
    // The target may only have been noted.
    this.#options.smallFiles?.complete();
    // It may lie in what is cleared here, and is gone then: link(2) says so.
    const path = this.#files.clear(place);
    linkSync(this.#files.pathOf(found.place), path);
    this.#files.add(place, found.node, 0);
  }

  #writeNode(entry: TarEntry, place: Place): void {
    if (entry.type !== 'fifo' && this.#options.refuseDevices) {
      throw badEntry(entry.name, 'it is a device node, which this daemon is set to refuse');
    }
    const type = entry.type === 'fifo' ? S_IF.FIFO : entry.type === 'block' ? S_IF.BLK : S_IF.CHR;
    const path = this.#files.clear(place);
    makeNode(path, type | (entry.mode & 0o777 & ~this.#umask), entry.major, entry.minor);
    this.#files.add(place, FILE);
    this.#finishNode(entry, path);
  }

  /** Whiteouts concern lower layers only, in whatever order they come (image-spec layer.md). */
  #writeMarker(entry: TarEntry, place: Place): void {
    const { directory } = place;
    if (place.name === OPAQUE_MARKER) {
      directory.opaque = true;
      return;
    }
    const name = place.name.slice(MARKER_PREFIX.length);
    if (name === '' || name === '.' || name === '..') {
      throw badEntry(entry.name, 'it is a whiteout without a name');
    }
    const there = directory.children.get(name);
    if (there?.kind === 'directory') there.opaque = there.replaces = true;
    if (there !== undefined) return;
    const target = { ...place, name };
    makeNode(this.#files.pathOf(target), S_IF.CHR);
    this.#files.add(target, WHITEOUT);
  }

  /** Owner, permissions, attributes and time of what cannot be opened. */
  #finishNode(entry: TarEntry, path: SystemPath): void {
    setPathOwner(path, entry);
    if (entry.type !== 'symlink') setNodeMode(path, entry.mode, this.#umask);
    setXattrs(path, entry.xattrs, false);
    setTimes(path, entry.mtime.seconds, entry.mtime.nanoseconds);
  }

  /** Runs work on the current entry; a failure names it. */
  #explained(work: () => void): void {
    try {
      work();
    } catch (error) {
      throw explainEntry(this.#entry?.name ?? '', error);
    }
  }
}

/** What a hard link may mean in lower layers. A directory that is only implied may be a link there. */
function foreignTarget(node: TreeNode | undefined, target: ByteString): ByteString | undefined {
  if (node?.kind === 'foreign-link') return node.target;
  const implied = node?.kind === 'directory' && node.attributes === undefined;
  return implied ? target : undefined;
}
