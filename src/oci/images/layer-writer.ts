import {
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { makeNode, S_IF, setTimes, setXattr } from '../../linux/index.ts';
import { type ByteString, quoteBytes, type SystemPath, systemPath } from './byte-path.ts';
import {
  setDirectoryAttributes,
  setFileMode,
  setFileOwner,
  setFileTime,
  setNodeMode,
  setPathOwner,
  setXattrs,
} from './file-attributes.ts';
import {
  DirectoryNode,
  FILE,
  ForeignLinkNode,
  LayerTree,
  type Place,
  SymlinkNode,
  type TreeNode,
  WHITEOUT,
} from './layer-tree.ts';
import type { TarEntry, TarSink } from './tar-reader.ts';
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
}

/** What unpacking a layer made. Paths are byte strings relative to the layer. */
export interface WrittenLayer {
  /** Bytes on disk, counted in whole blocks. */
  bytes: number;
  inodes: number;
  /** Mode and owner of the root directory, if the layer has an entry for it. */
  rootAttributes: { mode: number; uid: number; gid: number } | undefined;
  /** Whether the layer hides all that is below it. */
  opaqueRoot: boolean;
  /** Directories that entries lie in and that have no entry themselves, outermost first. */
  implied: ByteString[];
  /** Hard links to files that only lower layers can have. */
  foreignLinks: { path: ByteString; target: ByteString }[];
}

const DISK_BLOCK = 4096;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const MARKER_PREFIX = '.wh.';
const OPAQUE_MARKER = '.wh..wh..opq';
/** Names that the storage driver AUFS used for itself. */
const AUFS_PREFIX = '.wh..wh.';
const OPAQUE_XATTR = 'trusted.overlay.opaque';

/**
 * Writes the entries of a layer's archive into a directory, in the form that overlayfs
 * takes as a lower layer (kernel documentation, filesystems/overlayfs). Works
 * synchronously, for a worker thread. Places are found through the tree in memory: all
 * directories in a path that the kernel sees were made here, so that it follows no link.
 */
export class LayerWriter implements TarSink {
  readonly #options: LayerWriterOptions;
  readonly #umask = process.umask();
  readonly #tree = new LayerTree();
  #entry: TarEntry | undefined;
  /** The file being written; entries of other types have content that nobody wants. */
  #file: { fd: number; path: SystemPath; end: number } | undefined;
  #bytes = DISK_BLOCK;
  #inodes = 1;
  #entries = 0;
  #claimed = 0;

  constructor(options: LayerWriterOptions) {
    this.#options = options;
  }

  entry(entry: TarEntry): void {
    this.#entry = entry;
    this.#count(entry);
    this.#explained(() => this.#write(entry));
  }

  data(chunk: Buffer, start: number, end: number, position: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#explained(() => {
      for (let at = start; at < end; ) {
        at += writeSync(file.fd, chunk, at, end - at, position + at - start);
      }
      file.end = position + end - start;
      this.#bytes += end - start;
    });
  }

  endEntry(): void {
    const [file, entry] = [this.#file, this.#entry];
    if (file === undefined || entry === undefined) return;
    this.#file = undefined;
    try {
      this.#explained(() => {
        this.#bytes += (DISK_BLOCK - (entry.size % DISK_BLOCK)) % DISK_BLOCK;
        if (file.end < entry.size) ftruncateSync(file.fd, entry.size);
        setFileOwner(file.fd, entry);
        setFileMode(file.fd, entry.mode, this.#umask);
        setXattrs(file.path, entry.xattrs, true);
        setFileTime(file.fd, file.path, entry.mtime);
      });
    } finally {
      closeSync(file.fd);
    }
  }

  /** Sets what directories get last, because writing into them changes it. */
  finish(): WrittenLayer {
    const written: WrittenLayer = {
      bytes: this.#bytes,
      inodes: this.#inodes,
      rootAttributes: pickRoot(this.#tree.root),
      opaqueRoot: this.#tree.root.opaque,
      implied: [],
      foreignLinks: [],
    };
    this.#finishDirectory(this.#tree.root, '', written);
    return written;
  }

  /** Closes what is open, after a failure. */
  abandon(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #count(entry: TarEntry): void {
    const { limits } = this.#options;
    this.#entries++;
    this.#claimed += entry.size;
    if (this.#entries > limits.entries)
      throw tooLarge(`it has more than ${limits.entries} entries`);
    if (this.#claimed > limits.bytes) {
      throw tooLarge(`its files have more than ${limits.bytes} bytes`);
    }
  }

  #write(entry: TarEntry): void {
    if (isAufs(entry.name)) return;
    const place = this.#tree.locate(entry.name, (at) => this.#imply(at));
    if (place === undefined) return this.#writeRoot(entry);
    if (place.name.startsWith(MARKER_PREFIX)) return this.#writeMarker(entry, place);
    switch (entry.type) {
      case 'directory':
        return this.#writeDirectory(entry, place);
      case 'file':
        return this.#writeFile(entry, place);
      case 'symlink':
        return this.#writeSymlink(entry, place);
      case 'link':
        return this.#writeLink(entry, place);
      default:
        return this.#writeNode(entry, place);
    }
  }

  #writeRoot(entry: TarEntry): void {
    if (entry.type !== 'directory')
      throw badEntry(entry.name, 'it would replace the root directory');
    this.#tree.root.attributes = entry;
  }

  #writeDirectory(entry: TarEntry, place: Place): void {
    const there = place.directory.children.get(place.name);
    const node = there?.kind === 'directory' ? there : this.#makeDirectory(place);
    node.attributes = entry;
  }

  #writeFile(entry: TarEntry, place: Place): void {
    const path = this.#clear(place);
    const fd = openSync(path, CREATE, entry.mode & 0o777);
    this.#file = { fd, path, end: 0 };
    this.#add(place, FILE);
  }

  #writeSymlink(entry: TarEntry, place: Place): void {
    const path = this.#clear(place);
    symlinkSync(systemPath(undefined, entry.linkName), path);
    this.#add(place, new SymlinkNode(entry.linkName));
    this.#finishNode(entry, path);
  }

  #writeLink(entry: TarEntry, place: Place): void {
    const found = this.#tree.find(entry.linkName);
    if (found === undefined || found.node.kind === 'foreign-link') {
      const target = found?.node.kind === 'foreign-link' ? found.node.target : entry.linkName;
      this.#clear(place);
      place.directory.children.set(place.name, new ForeignLinkNode(target));
      return;
    }
    if (found.node.kind === 'directory' || found.node.kind === 'whiteout') {
      throw badEntry(entry.name, `its target ${quoteBytes(entry.linkName)} is not a file`);
    }
    if (found.place.directory === place.directory && found.place.name === place.name) {
      throw badEntry(entry.name, 'it is a hard link to itself');
    }
    // The target may lie in what is cleared here, and is gone then: link(2) says so.
    const path = this.#clear(place);
    linkSync(this.#pathOf(found.place), path);
    place.directory.children.set(place.name, found.node);
  }

  #writeNode(entry: TarEntry, place: Place): void {
    const isDevice = entry.type !== 'fifo';
    if (isDevice && this.#options.refuseDevices) throw badEntry(entry.name, 'it is a device node');
    const type = entry.type === 'fifo' ? S_IF.FIFO : entry.type === 'block' ? S_IF.BLK : S_IF.CHR;
    const path = this.#clear(place);
    makeNode(path, type | (entry.mode & 0o777 & ~this.#umask), entry.major, entry.minor);
    this.#add(place, FILE);
    this.#finishNode(entry, path);
  }

  /** Whiteouts: OCI image-spec layer.md. They concern lower layers only, in whatever order they come. */
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
    if (there?.kind === 'directory') there.opaque = true;
    if (there !== undefined) return;
    const target = { ...place, name };
    makeNode(this.#pathOf(target), S_IF.CHR);
    this.#add(target, WHITEOUT);
  }

  #imply(place: Place): DirectoryNode {
    if (place.name.startsWith(MARKER_PREFIX)) {
      throw badEntry(`${[...place.above, place.name].join('/')}/…`, 'a whiteout is no directory');
    }
    return this.#makeDirectory(place);
  }

  #makeDirectory(place: Place): DirectoryNode {
    const node = new DirectoryNode();
    // What was there, also a whiteout, hid the lower layers' directory of this name.
    node.opaque = place.directory.children.has(place.name);
    mkdirSync(this.#clear(place), 0o755);
    this.#add(place, node);
    this.#bytes += DISK_BLOCK;
    return node;
  }

  #add(place: Place, node: TreeNode): void {
    place.directory.children.set(place.name, node);
    this.#inodes++;
  }

  /** Takes away what is at a place. Answers its path. */
  #clear(place: Place): SystemPath {
    const path = this.#pathOf(place);
    const there = place.directory.children.get(place.name);
    if (there === undefined) return path;
    if (there.kind === 'directory') rmSync(path, { recursive: true });
    else if (there.kind !== 'foreign-link') unlinkSync(path);
    place.directory.children.delete(place.name);
    return path;
  }

  /** Owner, permissions, attributes and time of what cannot be opened. */
  #finishNode(entry: TarEntry, path: SystemPath): void {
    setPathOwner(path, entry);
    if (entry.type !== 'symlink') setNodeMode(path, entry.mode, this.#umask);
    setXattrs(path, entry.xattrs, false);
    setTimes(path, entry.mtime.seconds, entry.mtime.nanoseconds);
  }

  #finishDirectory(node: DirectoryNode, relative: string, written: WrittenLayer): void {
    const path = systemPath(this.#options.root, relative);
    if (node.attributes === undefined && relative !== '') written.implied.push(relative);
    for (const [name, child] of node.children) {
      const below = relative === '' ? name : `${relative}/${name}`;
      if (child.kind === 'directory') this.#finishDirectory(child, below, written);
      if (child.kind === 'foreign-link') {
        written.foreignLinks.push({ path: below, target: child.target });
      }
    }
    const { attributes } = node;
    if (node.opaque) setXattr(path, OPAQUE_XATTR, Buffer.from('y'));
    if (attributes !== undefined) {
      this.#explained(() => setDirectoryAttributes(path, attributes), relative);
    }
  }

  #pathOf(place: Place): SystemPath {
    const above = place.above.length === 0 ? '' : `${place.above.join('/')}/`;
    return systemPath(this.#options.root, above + place.name);
  }

  /** Runs work on an entry; a failure names the entry. */
  #explained(work: () => void, name = this.#entry?.name ?? ''): void {
    try {
      work();
    } catch (error) {
      throw explainEntry(name, error);
    }
  }
}

function isAufs(name: ByteString): boolean {
  return (
    name.includes(AUFS_PREFIX) &&
    name.split('/').some((part) => part.startsWith(AUFS_PREFIX) && part !== OPAQUE_MARKER)
  );
}

function pickRoot({ attributes }: DirectoryNode): WrittenLayer['rootAttributes'] {
  return attributes && { mode: attributes.mode, uid: attributes.uid, gid: attributes.gid };
}
