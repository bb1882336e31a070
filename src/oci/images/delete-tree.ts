import { lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import type { Space } from './blob-store.ts';
import { type ByteString, systemPath } from './byte-path.ts';
import { DISK_BLOCK } from './layer-files.ts';

/** Deletes what is at a path of a layer, with all that is below it. Answers the space that became free. */
export function deleteTree(layer: string, path: ByteString): Space {
  const target = systemPath(layer, path);
  const stat = lstatSync(target);
  if (!stat.isDirectory()) {
    unlinkSync(target);
    return stat.nlink === 1 ? { bytes: stat.blocks * 512, inodes: 1 } : { bytes: 0, inodes: 0 };
  }
  const freed: Space = { bytes: DISK_BLOCK, inodes: 1 };
  for (const name of namesIn(layer, path)) {
    const { bytes, inodes } = deleteTree(layer, `${path}/${name}`);
    freed.bytes += bytes;
    freed.inodes += inodes;
  }
  rmdirSync(target);
  return freed;
}

/** The names in a directory of a layer. */
export function namesIn(layer: string, directory: ByteString): ByteString[] {
  const names = readdirSync(systemPath(layer, directory), { encoding: 'buffer' });
  return names.map((bytes) => bytes.toString('latin1'));
}
