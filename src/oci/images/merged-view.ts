import { type BigIntStats, lstatSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../../base/errors.ts';
import { getXattr } from '../../linux/files.ts';
import { type ByteString, systemPath } from './byte-path.ts';
import { OPAQUE_XATTR } from './file-attributes.ts';
import { badEntry } from './unpack-errors.ts';

/** What a stack of layers shows under one name. */
export interface Shown {
  stat: BigIntStats;
  /** The layer whose version counts, and the path in it. */
  layer: string;
  path: ByteString;
  /** For a directory: the layers whose directories of this path are merged, topmost first. */
  layers: string[];
}

const MAX_LINKS = 40;

/**
 * What overlayfs would show of a stack of unpacked layers, without mounting it. No path
 * that the kernel sees here has a link above its last component.
 */
export class MergedView {
  readonly #layers: readonly string[];

  /** Directories of the layers, topmost first. */
  constructor(layers: readonly string[]) {
    this.#layers = layers;
  }

  /** What is at a path, following no link. */
  lookUp(path: ByteString): Shown | undefined {
    let shown: Shown | undefined = this.#root();
    for (const component of split(path)) {
      if (shown === undefined || !shown.stat.isDirectory()) return undefined;
      shown = this.#step(shown, component);
    }
    return shown;
  }

  /**
   * The path that `path` really means: links are followed as within a root directory, also
   * the last if `last` says so. What is not there is taken as it is written.
   */
  resolve(path: ByteString, last: boolean): ByteString {
    const pending = split(path);
    const real: string[] = [];
    let links = 0;
    while (pending.length > 0) {
      const component = pending.shift() ?? '';
      if (component === '.') continue;
      if (component === '..') {
        real.pop();
        continue;
      }
      real.push(component);
      if (pending.length === 0 && !last) break;
      const shown = this.lookUp(real.join('/'));
      if (!shown?.stat.isSymbolicLink()) continue;
      links++;
      if (links > MAX_LINKS) throw badEntry(path, 'too many links lead on to others');
      const target = readLink(shown);
      if (target.startsWith('/')) real.length = 0;
      else real.pop();
      pending.unshift(...split(target));
    }
    return real.join('/');
  }

  #root(): Shown | undefined {
    const [layer] = this.#layers;
    if (layer === undefined) return undefined;
    const stat = lstatSync(layer, { bigint: true });
    return { stat, layer, path: '', layers: [...this.#layers] };
  }

  #step(directory: Shown, name: string): Shown | undefined {
    const path = directory.path === '' ? name : `${directory.path}/${name}`;
    let first: Shown | undefined;
    for (const layer of directory.layers) {
      const stat = lstat(layer, path);
      if (stat === undefined) continue;
      if (isWhiteout(stat)) break;
      if (!stat.isDirectory()) return first ?? { stat, layer, path, layers: [] };
      first ??= { stat, layer, path, layers: [] };
      first.layers.push(layer);
      if (isOpaque(layer, path)) break;
    }
    return first;
  }
}

/** Whether a directory of a layer hides what is below it. */
export function isOpaque(layer: string, path: ByteString): boolean {
  try {
    return getXattr(systemPath(layer, path), OPAQUE_XATTR).toString() === 'y';
  } catch (error) {
    if (errnoOf(error) === 'ENODATA' || errnoOf(error) === 'EOPNOTSUPP') return false;
    throw error;
  }
}

/** Where a link leads, as a byte string. */
export function readLink({ layer, path }: Pick<Shown, 'layer' | 'path'>): ByteString {
  return readlinkSync(systemPath(layer, path), 'buffer').toString('latin1');
}

function lstat(layer: string, path: ByteString): BigIntStats | undefined {
  return lstatSync(systemPath(layer, path), { bigint: true, throwIfNoEntry: false });
}

/** Whether a file stands for a deletion (kernel documentation, filesystems/overlayfs). */
export function isWhiteout(stat: BigIntStats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0n;
}

function split(path: ByteString): string[] {
  return path.split('/').filter((component) => component !== '');
}
