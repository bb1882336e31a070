import { KeelsonError } from '../../base/index.ts';
import {
  type Descriptor,
  formatPlatform,
  type ImageIndex,
  isIndexType,
  isManifestType,
  type Platform,
  platformRank,
} from '../spec/index.ts';

/** Indexes within indexes that are followed. */
export const MAX_INDEX_DEPTH = 4;

/**
 * The entries of an index that may hold the image for a platform, best first. Entries
 * without a platform come last: only what they point to can say whether they fit.
 */
export function candidatesOf(index: ImageIndex, platform: Platform): Descriptor[] {
  const ranked = index.manifests.flatMap((descriptor, order) => {
    const known = isIndexType(descriptor.mediaType) || isManifestType(descriptor.mediaType);
    if (!known) return [];
    if (descriptor.platform === undefined)
      return [{ descriptor, order, rank: Number.MAX_SAFE_INTEGER }];
    const rank = platformRank(platform, descriptor.platform);
    return rank === undefined ? [] : [{ descriptor, order, rank }];
  });
  ranked.sort((a, b) => a.rank - b.rank || a.order - b.order);
  return ranked.map(({ descriptor }) => descriptor);
}

export function noneFits(index: ImageIndex, platform: Platform): KeelsonError {
  const offered = index.manifests.flatMap((descriptor) =>
    descriptor.platform === undefined || descriptor.platform.os === 'unknown'
      ? []
      : [formatPlatform(descriptor.platform)],
  );
  return new KeelsonError('NOT_FOUND', 'Cannot choose an image from an index', {
    reason: `none is for ${formatPlatform(platform)}; it has ${[...new Set(offered)].slice(0, 20).join(', ') || 'none'}`,
  });
}
