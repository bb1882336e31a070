import { lstatSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { type ByteString, type SystemPath, systemPath } from './byte-path.ts';
import { setDirectoryAttributes, setOpaque } from './file-attributes.ts';
import { DirectoryNode, LayerTree, type Place, type TreeNode } from './layer-tree.ts';
import { MARKER_PREFIX } from './markers.ts';
import { badEntry, explainEntry } from './unpack-errors.ts';

/** What unpacking a layer made. Paths are byte strings relative to the layer. */
export interface WrittenLayer {
  /** Bytes on disk, counted in whole blocks. */
  bytes: number;
  inodes: number;
  /** Mode and owner of the root directory, if the layer has an entry for it. */
  rootAttributes: { mode: number; uid: number; gid: number } | undefined;
  /** Whether the layer hides all that is below it. */
  opaqueRoot: boolean;
  /** Directories without an entry themselves that lower layers may have too, outermost first. */
  implied: ByteString[];
  /** The same, where what lower layers have is hidden. */
  impliedAnew: ByteString[];
  /** Hard links to files that only lower layers can have. */
  foreignLinks: { path: ByteString; target: ByteString }[];
  /** Whiteouts that may or may not have something to hide. */
  whiteouts: ByteString[];
}

/** Whether a layer looks different from one stack of lower layers to the next. */
export function dependsOnBelow(layer: WrittenLayer): boolean {
  return layer.implied.length + layer.foreignLinks.length + layer.whiteouts.length > 0;
}

export const DISK_BLOCK = 4096;

/** The path of a place in the layer. */
export function relativePath({ above, name }: Place): ByteString {
  return above.length === 0 ? name : `${above.join('/')}/${name}`;
}

/**
 * The files of a layer that is being unpacked: the tree in memory and, always like it, the
 * directory on disk, with an account of the space.
 */
export class LayerFiles {
  readonly tree = new LayerTree();
  readonly #root: string;
  readonly #beforeRemoval: () => void;
  #bytes = DISK_BLOCK;
  #inodes = 1;

  /** `beforeRemoval` is called before something is taken away. */
  constructor(root: string, beforeRemoval: () => void) {
    this.#root = root;
    this.#beforeRemoval = beforeRemoval;
  }

  /** The place of an entry. Directories above it that have no entry of their own are made. */
  locate(name: ByteString): Place | undefined {
    return this.tree.locate(name, (place) => {
      if (!place.name.startsWith(MARKER_PREFIX)) return this.makeDirectory(place);
      throw badEntry(name, 'a directory in it has the name of a whiteout');
    });
  }

  pathOf(place: Place): SystemPath {
    return systemPath(this.#root, relativePath(place));
  }

  /** Takes away what is at a place, with all that is below it. Answers its path. */
  clear(place: Place): SystemPath {
    const path = this.pathOf(place);
    const there = place.directory.children.get(place.name);
    if (there === undefined) return path;
    this.#beforeRemoval();
    if (there.kind === 'directory') {
      const above = [...place.above, place.name];
      for (const name of [...there.children.keys()]) this.clear({ directory: there, above, name });
      rmdirSync(path);
      this.#discount(DISK_BLOCK);
    } else if (there.kind === 'foreign-link') {
      this.#discount(0);
    } else {
      const { nlink, blocks } = lstatSync(path);
      unlinkSync(path);
      if (nlink === 1) this.#discount(blocks * 512);
    }
    place.directory.children.delete(place.name);
    return path;
  }

  /** An inode is gone, and so many bytes of content. */
  #discount(bytes: number): void {
    this.#inodes--;
    this.#bytes -= bytes;
  }

  /** Notes what has been made at a place: an inode of its own, or one more name of another's. */
  add(place: Place, node: TreeNode, inodes = 1): void {
    place.directory.children.set(place.name, node);
    this.#inodes += inodes;
  }

  addBytes(bytes: number): void {
    this.#bytes += bytes;
  }

  makeDirectory(place: Place): DirectoryNode {
    const node = new DirectoryNode();
    // What was there, also a whiteout, hid the lower layers' directory of this name.
    node.replaces = place.directory.children.has(place.name);
    node.opaque = node.replaces;
    mkdirSync(this.clear(place), 0o755);
    this.add(place, node);
    this.#bytes += DISK_BLOCK;
    return node;
  }

  /** Sets what directories get last, because writing into them changes it. */
  finish(): WrittenLayer {
    const { attributes, opaque } = this.tree.root;
    const written: WrittenLayer = {
      bytes: this.#bytes,
      inodes: this.#inodes,
      rootAttributes: attributes && {
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
      },
      opaqueRoot: opaque,
      implied: [],
      impliedAnew: [],
      foreignLinks: [],
      whiteouts: [],
    };
    this.#finishDirectory({ node: this.tree.root, relative: '', hidden: false }, written);
    return { ...written, inodes: this.#inodes };
  }

  #finishDirectory({ node, relative, hidden }: Finishing, written: WrittenLayer): void {
    const path = systemPath(this.#root, relative);
    const { attributes } = node;
    if (attributes === undefined && relative !== '') {
      const anew = hidden || node.replaces;
      (anew ? written.impliedAnew : written.implied).push(relative);
    }
    const hides = hidden || node.opaque;
    for (const [name, child] of node.children) {
      const below = relative === '' ? name : `${relative}/${name}`;
      if (child.kind === 'directory') {
        this.#finishDirectory({ node: child, relative: below, hidden: hides }, written);
      } else if (child.kind === 'foreign-link') {
        written.foreignLinks.push({ path: below, target: child.target });
      } else if (child.kind === 'whiteout') {
        if (hides) this.#removeWhiteout(below);
        else written.whiteouts.push(below);
      }
    }
    try {
      if (node.opaque) setOpaque(path);
      if (attributes !== undefined) setDirectoryAttributes(path, attributes);
    } catch (error) {
      throw explainEntry(relative, error);
    }
  }

  /** Overlayfs shows a whiteout that has nothing to hide as a name without a file. */
  #removeWhiteout(relative: ByteString): void {
    unlinkSync(systemPath(this.#root, relative));
    this.#inodes--;
  }
}

/** A directory to finish; `hidden` if that of lower layers is, because one above is opaque. */
interface Finishing {
  node: DirectoryNode;
  relative: ByteString;
  hidden: boolean;
}
