import type { ByteString } from './byte-path.ts';

/** Names in archives that stand for deletions (image-spec layer.md, "Whiteouts"). */
export const MARKER_PREFIX = '.wh.';
export const OPAQUE_MARKER = '.wh..wh..opq';

/** Names that the storage driver AUFS used for itself. */
const AUFS_PREFIX = '.wh..wh.';

export function isAufs(name: ByteString): boolean {
  return (
    name.includes(AUFS_PREFIX) &&
    name.split('/').some((part) => part.startsWith(AUFS_PREFIX) && part !== OPAQUE_MARKER)
  );
}
