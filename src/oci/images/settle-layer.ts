import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { syncFileSystem } from '../../linux/index.ts';
import { type ByteString, quoteBytes, systemPath } from './byte-path.ts';
import { copyAttributes, copyNode, setModified } from './copy-node.ts';
import { isOpaque, MergedView, readLink, type Shown } from './merged-view.ts';
import { badEntry } from './unpack-errors.ts';

/** A layer to complete with what the layers below it have, in a form that can be sent to a worker. */
export interface SettleJob {
  directory: string;
  implied: ByteString[];
  foreignLinks: { path: ByteString; target: ByteString }[];
  /** Directories of the layers below, topmost first. */
  below: string[];
}

/**
 * Completes a layer whose archive leaves out what it takes for granted below: directories
 * that entries lie in get the attributes that they have there; where there is a link
 * instead, the entries move to where it leads; files that are only named as targets of
 * hard links are copied. The result is what unpacking onto the layers below would give.
 * Answers the bytes that were added.
 */
export function settleLayer(job: SettleJob): number {
  const settling = new Settling(job);
  settling.moveThroughLinks();
  const added = settling.copyLinked();
  settling.copyAttributes();
  const fd = openSync(job.directory, 'r');
  try {
    syncFileSystem(fd);
  } finally {
    closeSync(fd);
  }
  return added;
}

class Settling {
  readonly #job: SettleJob;
  readonly #layer: string;
  readonly #below: MergedView;
  readonly #all: MergedView;
  /** Directories without an entry of their own, as they are now. */
  readonly #implied: Set<ByteString>;
  readonly #moves: { from: ByteString; to: ByteString }[] = [];

  constructor(job: SettleJob) {
    this.#job = job;
    this.#layer = job.directory;
    this.#below = new MergedView(job.below);
    this.#all = new MergedView([job.directory, ...job.below]);
    this.#implied = new Set(job.implied);
  }

  moveThroughLinks(): void {
    for (const announced of this.#job.implied) {
      const path = this.#moved(announced);
      if (!this.#implied.has(path)) continue;
      const shown = this.#showsThrough(path);
      if (shown?.stat.isSymbolicLink()) this.#move(path, readLink(shown));
    }
  }

  /** Answers the bytes that were added. */
  copyLinked(): number {
    const copied = new Map<ByteString, ByteString>();
    let bytes = 0;
    for (const { path, target } of this.#job.foreignLinks) {
      const real = this.#below.resolve(target, false);
      const shown = this.#below.lookUp(real);
      if (shown === undefined || shown.stat.isDirectory()) {
        throw badEntry(path, `its target ${quoteBytes(target)} is not a file`);
      }
      const place = this.#moved(path);
      this.#keepingTime(place, () => {
        bytes += copyNode(shown, systemPath(this.#layer, place), this.#first(copied, real));
      });
      copied.set(real, place);
    }
    return bytes;
  }

  copyAttributes(): void {
    for (const path of this.#implied) {
      const shown = this.#showsThrough(path);
      if (shown?.stat.isDirectory()) {
        const from = systemPath(shown.layer, shown.path);
        copyAttributes(from, shown.stat, systemPath(this.#layer, path));
      }
    }
  }

  #first(copied: ReadonlyMap<ByteString, ByteString>, real: ByteString) {
    const place = copied.get(real);
    return place === undefined ? undefined : systemPath(this.#layer, place);
  }

  /** What the layers below show at a path, unless a directory of this layer hides it. */
  #showsThrough(path: ByteString): Shown | undefined {
    const components = path.split('/');
    for (let depth = 0; depth <= components.length; depth++) {
      if (isOpaque(this.#layer, components.slice(0, depth).join('/'))) return undefined;
    }
    return this.#below.lookUp(path);
  }

  #move(from: ByteString, target: ByteString): void {
    const parent = from.includes('/') ? dirname(from) : '';
    const to = this.#all.resolve(target.startsWith('/') ? target : `${parent}/${target}`, true);
    if (to === from || to.startsWith(`${from}/`)) throw badEntry(from, 'a link leads to itself');
    this.#makeDirectories(to);
    this.#merge(from, to);
    this.#implied.delete(from);
    this.#moves.push({ from, to });
    for (const path of [...this.#implied]) {
      if (!path.startsWith(`${from}/`)) continue;
      this.#implied.delete(path);
      this.#implied.add(to + path.slice(from.length));
    }
  }

  #makeDirectories(path: ByteString): void {
    const components = path.split('/').filter(Boolean);
    for (const depth of components.keys()) {
      const directory = components.slice(0, depth + 1).join('/');
      const there = lstatSync(systemPath(this.#layer, directory), { throwIfNoEntry: false });
      if (there?.isDirectory()) continue;
      if (there !== undefined) throw badEntry(path, `${quoteBytes(directory)} is not a directory`);
      this.#keepingTime(directory, () => mkdirSync(systemPath(this.#layer, directory), 0o755));
      this.#implied.add(directory);
    }
  }

  /** Moves what is in `from` into `to`. Of two files of the same name the moved one stays. */
  #merge(from: ByteString, to: ByteString): void {
    const names = readdirSync(systemPath(this.#layer, from), { encoding: 'buffer' });
    for (const name of names.map((bytes) => bytes.toString('latin1'))) {
      const source = systemPath(this.#layer, `${from}/${name}`);
      const place = to === '' ? name : `${to}/${name}`;
      const there = lstatSync(systemPath(this.#layer, place), { throwIfNoEntry: false });
      if (there?.isDirectory() && lstatSync(source).isDirectory()) {
        this.#merge(`${from}/${name}`, place);
        continue;
      }
      this.#keepingTime(place, () => {
        if (there !== undefined) rmSync(systemPath(this.#layer, place), { recursive: true });
        renameSync(source, systemPath(this.#layer, place));
      });
    }
    this.#keepingTime(from, () => rmdirSync(systemPath(this.#layer, from)));
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
      (now, { from, to }) => (now.startsWith(`${from}/`) ? to + now.slice(from.length) : now),
      path,
    );
  }
}
