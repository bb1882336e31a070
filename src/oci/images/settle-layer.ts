import { randomUUID } from 'node:crypto';
import { type BigIntStats, lstatSync, mkdirSync, renameSync, rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Space } from './blob-store.ts';
import { type ByteString, quoteBytes, systemPath } from './byte-path.ts';
import { copyAttributes, copyNode, setModified } from './copy-node.ts';
import { deleteTree, namesIn } from './delete-tree.ts';
import { setOpaque } from './file-attributes.ts';
import { ImpliedDirectories } from './implied-directories.ts';
import { DISK_BLOCK } from './layer-files.ts';
import { isOpaque, isWhiteout, MergedView, readLink, type Shown } from './merged-view.ts';
import { badEntry } from './unpack-errors.ts';

/** A layer to complete with what the layers below it have, in a form that can be sent to a worker. */
export interface SettleJob {
  directory: string;
  implied: ByteString[];
  impliedAnew: ByteString[];
  foreignLinks: { path: ByteString; target: ByteString }[];
  whiteouts: ByteString[];
  /** Directories of the layers below, topmost first. */
  below: string[];
}

/** What completing a layer changed. */
export interface Settled {
  /** Space that it takes more. */
  added: Space;
  /** A marker turned out to mean the root: the layer hides all that is below it. */
  opaqueRoot: boolean;
}

/**
 * Completes a layer whose archive leaves out what it takes for granted below: directories
 * that entries lie in get the attributes that they have there; where there is a link
 * instead, the entries move to where it leads; files that are only named as targets of
 * hard links are copied; whiteouts that hide nothing go. The result is what unpacking onto
 * the layers below would give. Answers what changed.
 */
export function settleLayer(job: SettleJob): Settled {
  const settling = new Settling(job);
  settling.moveThroughLinks();
  settling.copyLinked();
  settling.removeIdleWhiteouts();
  settling.copyAttributes();
  return { added: settling.added, opaqueRoot: settling.opaqueRoot };
}

class Settling {
  readonly #job: SettleJob;
  readonly #layer: string;
  readonly #below: MergedView;
  readonly #all: MergedView;
  readonly #implied = new ImpliedDirectories();
  readonly added: Space = { bytes: 0, inodes: 0 };
  opaqueRoot = false;
  readonly #moves: { from: ByteString; to: ByteString }[] = [];

  constructor(job: SettleJob) {
    this.#job = job;
    this.#layer = job.directory;
    this.#below = new MergedView(job.below);
    this.#all = new MergedView([job.directory, ...job.below]);
    for (const path of job.implied) this.#implied.set(path, true);
    for (const path of job.impliedAnew) this.#implied.set(path, false);
  }

  moveThroughLinks(): void {
    for (const announced of this.#job.implied) {
      const path = this.#moved(announced);
      if (!this.#implied.has(path) || !this.#lstat(path)?.isDirectory()) continue;
      const shown = this.#showsThrough(path);
      if (shown?.stat.isSymbolicLink()) this.#move(path, readLink(shown));
    }
  }

  copyLinked(): void {
    const copied = new Map<ByteString, ByteString>();
    for (const { path, target } of this.#job.foreignLinks) {
      const real = this.#all.resolve(target, false);
      const shown = this.#all.lookUp(real);
      if (shown === undefined || shown.stat.isDirectory()) {
        throw badEntry(path, `its target ${quoteBytes(target)} is not a file`);
      }
      // Moving things may have brought the target into this very layer.
      const here = shown.layer === this.#layer ? real : copied.get(real);
      const place = this.#moved(path);
      const link = here === undefined ? undefined : systemPath(this.#layer, here);
      if (this.#lstat(place) !== undefined || !this.#hasParent(place)) {
        throw badEntry(path, 'another entry has taken its place');
      }
      this.#keepingTime(place, () => {
        this.added.bytes += copyNode(shown, systemPath(this.#layer, place), link);
      });
      // Each was counted as an inode of its own when it was found.
      if (link !== undefined) this.added.inodes--;
      copied.set(real, place);
    }
  }

  removeIdleWhiteouts(): void {
    for (const announced of this.#job.whiteouts) {
      const path = this.#moved(announced);
      const there = this.#lstat(path);
      if (there === undefined || !isWhiteout(there)) continue;
      if (this.#below.lookUp(path) !== undefined && !this.#isHidden(path)) continue;
      this.#keepingTime(path, () => this.#delete(path));
    }
  }

  copyAttributes(): void {
    for (const [path, asBelow] of this.#implied) {
      if (!asBelow) continue;
      const shown = this.#lstat(path)?.isDirectory() ? this.#showsThrough(path) : undefined;
      if (shown?.stat.isDirectory()) {
        const from = systemPath(shown.layer, shown.path);
        copyAttributes(from, shown.stat, systemPath(this.#layer, path));
      }
    }
  }

  /** What the layers below show at a path, unless a directory of this layer hides it. */
  #showsThrough(path: ByteString): Shown | undefined {
    return this.#isHidden(path) ? undefined : this.#below.lookUp(path);
  }

  /** Whether a directory above a path is opaque. */
  #isHidden(path: ByteString): boolean {
    const components = path.split('/');
    return components.some((_, depth) =>
      isOpaque(this.#layer, components.slice(0, depth).join('/')),
    );
  }

  #hasParent(path: ByteString): boolean {
    return !path.includes('/') || this.#lstat(dirname(path))?.isDirectory() === true;
  }

  #move(from: ByteString, target: ByteString): void {
    const parent = from.includes('/') ? dirname(from) : '';
    const to = this.#all.resolve(target.startsWith('/') ? target : `${parent}/${target}`, true);
    if (to === from || to.startsWith(`${from}/`)) throw badEntry(from, 'a link leads to itself');
    // Out of the way first: what is in it may have to take its very place.
    const apart = `.moving-${randomUUID()}`;
    this.#keepingTime(apart, () =>
      this.#keepingTime(from, () =>
        renameSync(systemPath(this.#layer, from), systemPath(this.#layer, apart)),
      ),
    );
    this.#implied.rename(from, apart);
    this.#moves.push({ from, to });
    const blocked = this.#makeDirectories(to);
    if (blocked === undefined) this.#merge(apart, to);
    else if (this.#holdsFiles(apart))
      throw badEntry(from, `${quoteBytes(blocked)} is not a directory`);
    // Deletions in what another entry has replaced anyway.
    else this.#remove(apart);
  }

  /** Answers what stands in the way, if something does. */
  #makeDirectories(path: ByteString): ByteString | undefined {
    const components = path.split('/').filter(Boolean);
    for (const depth of components.keys()) {
      const directory = components.slice(0, depth + 1).join('/');
      const target = systemPath(this.#layer, directory);
      const there = this.#lstat(directory);
      if (there?.isDirectory()) continue;
      const deleted = there !== undefined && isWhiteout(there);
      if (there !== undefined && !deleted) return directory;
      this.#keepingTime(directory, () => {
        if (deleted) this.#delete(directory);
        mkdirSync(target, 0o755);
        if (deleted) setOpaque(target);
      });
      this.#account(1, DISK_BLOCK);
      this.#implied.set(directory, !deleted);
    }
    return undefined;
  }

  /** Whether there is anything but deletions in a directory. */
  #holdsFiles(directory: ByteString): boolean {
    return namesIn(this.#layer, directory).some((name) => {
      const path = below(directory, name);
      const stat = this.#lstat(path);
      if (stat === undefined || isWhiteout(stat)) return false;
      return !stat.isDirectory() || !this.#implied.has(path) || this.#holdsFiles(path);
    });
  }

  #remove(directory: ByteString): void {
    this.#keepingTime(directory, () => this.#delete(directory));
    this.#implied.forget(directory);
  }

  #delete(path: ByteString): void {
    const freed = deleteTree(this.#layer, path);
    this.#account(-freed.inodes, -freed.bytes);
  }

  #account(inodes: number, bytes: number): void {
    this.added.inodes += inodes;
    this.added.bytes += bytes;
  }

  /** Makes two directories of this layer one. Of two files of the same name the moved one stays. */
  #merge(from: ByteString, to: ByteString): void {
    const [source, target] = [systemPath(this.#layer, from), systemPath(this.#layer, to)];
    if (isOpaque(this.#layer, from)) {
      setOpaque(target);
      this.opaqueRoot ||= to === '';
    }
    // What an entry says of a directory counts more than what is taken from below.
    const stated = !this.#implied.delete(from);
    if (stated && this.#implied.delete(to)) {
      copyAttributes(source, lstatSync(source, { bigint: true }), target);
    }
    for (const name of namesIn(this.#layer, from))
      this.#mergeOne(below(from, name), below(to, name));
    this.#keepingTime(from, () => rmdirSync(source));
    this.#account(-1, -DISK_BLOCK);
  }

  #mergeOne(from: ByteString, to: ByteString): void {
    const [source, target] = [systemPath(this.#layer, from), systemPath(this.#layer, to)];
    const [moved, there] = [this.#lstat(from), this.#lstat(to)];
    if (moved === undefined) return;
    if (there !== undefined && isWhiteout(moved)) {
      // A deletion concerns what is below; a directory of this layer hides that.
      if (there.isDirectory()) setOpaque(target);
      if (this.#implied.has(to)) this.#implied.set(to, false);
      this.#delete(from);
      return;
    }
    if (there?.isDirectory() && moved.isDirectory()) {
      this.#merge(from, to);
      return;
    }
    this.#keepingTime(to, () => {
      if (there !== undefined) this.#delete(to);
      this.#implied.forget(to);
      renameSync(source, target);
      this.#implied.rename(from, to);
      if (there !== undefined && moved.isDirectory()) setOpaque(target);
    });
  }

  /** What this layer has at a path. Moving things may have put a link above it: that is not followed. */
  #lstat(path: ByteString): BigIntStats | undefined {
    const components = path.split('/');
    for (let depth = 1; depth < components.length; depth++) {
      const above = systemPath(this.#layer, components.slice(0, depth).join('/'));
      if (!lstatSync(above, { throwIfNoEntry: false })?.isDirectory()) return undefined;
    }
    return lstatSync(systemPath(this.#layer, path), { bigint: true, throwIfNoEntry: false });
  }

  /** Changes what is in a directory without changing the time of the directory. */
  #keepingTime(path: ByteString, change: () => void): void {
    const parent = systemPath(this.#layer, path.includes('/') ? dirname(path) : '');
    const before = lstatSync(parent, { bigint: true });
    change();
    setModified(parent, before);
  }

  /** Where a path is after what was moved. */
  #moved(path: ByteString): ByteString {
    return this.#moves.reduce(
      (now, { from, to }) =>
        now.startsWith(`${from}/`) ? below(to, now.slice(from.length + 1)) : now,
      path,
    );
  }
}

function below(directory: ByteString, name: ByteString): ByteString {
  return directory === '' ? name : `${directory}/${name}`;
}
