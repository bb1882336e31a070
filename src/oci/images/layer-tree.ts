import { quoteBytes } from './byte-path.ts';
import { badEntry } from './unpack-errors.ts';

/** What the entry of a directory says of it; undefined for one that only its content implies. */
export interface DirectoryAttributes {
  mode: number;
  uid: number;
  gid: number;
  mtime: { seconds: number; nanoseconds: number };
  xattrs: readonly [name: string, value: Buffer][];
}

export class DirectoryNode {
  readonly kind = 'directory';
  readonly children = new Map<string, TreeNode>();
  attributes: DirectoryAttributes | undefined;
  /** Hides what lower layers have in this directory. */
  opaque = false;
  /** Takes the place of the lower layers' directory of this name, which is deleted. */
  replaces = false;
}

export class SymlinkNode {
  readonly kind = 'symlink';
  readonly target: string;

  constructor(target: string) {
    this.target = target;
  }
}

/** Files and nodes need no more than this; one object serves for all, as there may be millions. */
export const FILE = { kind: 'file' } as const;
/** A name of lower layers that this layer deletes. */
export const WHITEOUT = { kind: 'whiteout' } as const;

/** A hard link to a file that only lower layers can have; not on disk yet. */
export class ForeignLinkNode {
  readonly kind = 'foreign-link';
  readonly target: string;

  constructor(target: string) {
    this.target = target;
  }
}

export type TreeNode =
  | DirectoryNode
  | SymlinkNode
  | ForeignLinkNode
  | typeof FILE
  | typeof WHITEOUT;

/** A place in the tree: a directory that is there, and a name in it. */
export interface Place {
  directory: DirectoryNode;
  /** The components of the directory's path. */
  above: string[];
  name: string;
}

/** As many links as the kernel follows in one path. */
const MAX_LINKS = 40;
const NAME_MAX = 255;

/** Makes a directory that no entry announced, because an entry lies in it. */
export type ImplyDirectory = (place: Place) => DirectoryNode;

/**
 * The files of a layer as far as they have been unpacked. Paths are resolved in here and
 * not by the kernel, so that no link can lead out of the layer: `..` stops at the root and
 * absolute links begin there, as they would for a process whose root directory the layer is.
 */
export class LayerTree {
  readonly root = new DirectoryNode();

  /**
   * The place that an entry's name denotes; undefined for the root itself. Links among the
   * directories above it are followed, the last component is not. Fails with
   * INVALID_ARGUMENT for a name that leads out of the layer.
   */
  locate(path: string, imply: ImplyDirectory): Place | undefined {
    const components = cleanPath(path);
    const name = components.pop();
    if (name === undefined) return undefined;
    const walk = new Walk(this.root, path, imply);
    walk.descend(components);
    return { directory: walk.directory, above: walk.path, name };
  }

  /** The node at a place that `locate` would find, if all directories above it are there. */
  find(path: string): { node: TreeNode; place: Place } | undefined {
    try {
      const place = this.locate(path, () => {
        throw new NotThere();
      });
      const node = place?.directory.children.get(place.name);
      return place === undefined || node === undefined ? undefined : { node, place };
    } catch (error) {
      if (error instanceof NotThere) return undefined;
      throw error;
    }
  }
}

class NotThere extends Error {}

class Walk {
  directory: DirectoryNode;
  path: string[] = [];
  readonly #stack: DirectoryNode[] = [];
  readonly #root: DirectoryNode;
  readonly #whole: string;
  readonly #imply: ImplyDirectory;
  #links = 0;

  constructor(root: DirectoryNode, whole: string, imply: ImplyDirectory) {
    this.#root = root;
    this.directory = root;
    this.#whole = whole;
    this.#imply = imply;
  }

  descend(components: readonly string[]): void {
    for (const component of components) this.#step(component);
  }

  #step(component: string): void {
    if (component === '' || component === '.') return;
    if (component === '..') this.#up();
    else this.#down(component);
  }

  #down(component: string): void {
    const child = this.directory.children.get(component);
    switch (child?.kind) {
      case 'symlink':
        this.#follow(child.target);
        return;
      case 'file':
      case 'foreign-link':
        throw badEntry(this.#whole, `${quoteBytes(component)} in it is not a directory`);
      case 'directory':
        this.#enter(child, component);
        return;
      default: {
        const { directory, path } = this;
        this.#enter(this.#imply({ directory, above: path, name: component }), component);
      }
    }
  }

  #enter(directory: DirectoryNode, name: string): void {
    this.#stack.push(this.directory);
    this.directory = directory;
    this.path.push(name);
  }

  #up(): void {
    this.path.pop();
    this.directory = this.#stack.pop() ?? this.#root;
  }

  #follow(target: string): void {
    this.#links++;
    if (this.#links > MAX_LINKS) throw badEntry(this.#whole, 'too many links lead on to others');
    if (target.startsWith('/')) {
      this.directory = this.#root;
      this.#stack.length = 0;
      this.path = [];
    }
    this.descend(target.split('/'));
  }
}

/**
 * The components of a name, `.` and `..` resolved by the text alone. A leading slash means
 * the root of the layer. Fails for a name that leads above it.
 */
export function cleanPath(path: string): string[] {
  const components: string[] = [];
  for (const component of path.split('/')) {
    if (component === '' || component === '.') continue;
    if (component === '..') {
      if (components.pop() === undefined) throw badEntry(path, 'it leads out of the layer');
    } else {
      if (component.length > NAME_MAX)
        throw badEntry(path, 'a name in it is longer than 255 bytes');
      components.push(component);
    }
  }
  return components;
}
