import { lstat, readdir } from 'node:fs/promises';
import { ifExists } from '../base/index.ts';
import { getXattr, listXattrs } from '../linux/index.ts';

const OPAQUE = 'trusted.overlay.opaque';

/** What the upper directory of an overlay holds. Paths from its root, bytes as Latin-1. */
export interface OverlayChanges {
  /** What was made or changed, parents first. */
  made: string[];
  /** What is gone from below. */
  deleted: string[];
}

/**
 * Walks an upper directory (kernel documentation, filesystems/overlayfs): a character device
 * 0/0 stands for what was deleted, and an opaque directory for one that was deleted and made
 * anew. `lower` are the directories below, topmost first.
 */
export async function overlayChanges(
  upper: string,
  lower: readonly string[],
): Promise<OverlayChanges> {
  const found: OverlayChanges = { made: ['.'], deleted: [] };
  const walk = async (directory: string): Promise<void> => {
    const entries = await readdir(placeIn(upper, directory), {
      withFileTypes: true,
      encoding: 'latin1',
    });
    if (isOpaque(placeIn(upper, directory))) {
      const own = new Set(entries.map(({ name }) => name));
      for (const name of await namesBelow(lower, directory)) {
        if (!own.has(name)) found.deleted.push(`${directory}${name}`);
      }
    }
    for (const entry of entries) {
      const path = `${directory}${entry.name}`;
      const isWhiteout =
        entry.isCharacterDevice() && (await lstat(placeIn(upper, path))).rdev === 0;
      found[isWhiteout ? 'deleted' : 'made'].push(path);
      if (entry.isDirectory()) await walk(`${path}/`);
    }
  };
  await walk('');
  return found;
}

function placeIn(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(`${root}/`), Buffer.from(path, 'latin1')]);
}

function isOpaque(directory: Buffer): boolean {
  if (!listXattrs(directory).includes(OPAQUE)) return false;
  return getXattr(directory, OPAQUE).toString() === 'y';
}

async function namesBelow(lower: readonly string[], directory: string): Promise<Set<string>> {
  const lists = await Promise.all(
    lower.map(
      async (layer) =>
        (await ifExists(readdir(placeIn(layer, directory), { encoding: 'latin1' }))) ?? [],
    ),
  );
  return new Set(lists.flat());
}
