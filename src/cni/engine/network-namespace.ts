import { statfs } from 'node:fs/promises';
import { errnoOf } from '../../base/index.ts';

/** NSFS_MAGIC of linux/magic.h. */
const NSFS = 0x6e736673;

/**
 * The path if a namespace is there, else the empty string. A path whose mount is gone
 * still has the file it was mounted on.
 */
export async function liveNamespace(path: string): Promise<string> {
  if (path === '') return '';
  try {
    return (await statfs(path)).type === NSFS ? path : '';
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return '';
    throw error;
  }
}
