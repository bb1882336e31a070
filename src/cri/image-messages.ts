import { type AuthConfig, Image } from '../gen/runtime/v1/api.ts';
import type { ImageRecord } from '../oci/images/index.ts';
import type { Credentials } from '../oci/registry/index.ts';

/** An image as CRI shows it: a numeric user becomes `uid`, any other `username`. */
export function imageMessage(image: ImageRecord): Image {
  const user = (image.config.config?.User ?? '').split(':')[0] ?? '';
  const numeric = /^\d+$/.test(user);
  return Image.fromPartial({
    id: image.id,
    repoTags: [...image.repoTags],
    repoDigests: [...image.repoDigests],
    size: BigInt(image.size),
    ...(numeric ? { uid: { value: BigInt(user) } } : {}),
    username: numeric ? '' : user,
    pinned: image.pinned,
  });
}

/** Credentials of a pull; undefined when the request brings none. */
export function toCredentials(auth: AuthConfig | undefined): Credentials | undefined {
  if (auth === undefined) return undefined;
  const given = Object.entries(auth).filter(([, value]) => value !== '');
  return given.length === 0 ? undefined : Object.fromEntries(given);
}
