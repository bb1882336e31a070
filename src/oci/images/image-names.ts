import { type Reference, repositoryOf } from '../spec/index.ts';
import type { StoredImage } from './image-records.ts';

/** Names that an image gets. */
export interface ImageNames {
  tag: string | undefined;
  digest: string | undefined;
}

/** The image with the names given too; a tag that it has counts from now on. */
export function withNames(image: StoredImage, { tag, digest }: ImageNames): StoredImage {
  const others = image.tags.filter(({ name }) => name !== tag);
  return {
    ...image,
    tags: tag === undefined ? image.tags : [...others, { name: tag, since: Date.now() }],
    digests: digest === undefined ? image.digests : [...new Set([...image.digests, digest])],
  };
}

/** With tag and digest, the digest decides, and the tag is not looked at (distribution reference rules). */
export function namesOf(reference: Reference, digest: string): ImageNames {
  const repository = repositoryOf(reference);
  const tag = tagOf(reference);
  return {
    tag: tag === undefined ? undefined : `${repository}:${tag}`,
    digest: `${repository}@${digest}`,
  };
}

function tagOf({ tag, digest }: Reference): string | undefined {
  return digest === undefined ? tag : undefined;
}
