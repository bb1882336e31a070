import type { PullImageRequest, PullImageResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { toCredentials } from './image-messages.ts';
import { toImageReference } from './image-spec.ts';

export const pullImage: UnaryHandler<PullImageRequest, PullImageResponse> = async (
  { images },
  request,
  { signal },
) => {
  const { image } = toImageReference('image', request.image);
  const credentials = toCredentials(request.auth);
  const record = await images.pull(image, {
    signal,
    ...(credentials === undefined ? {} : { credentials }),
  });
  return { imageRef: record.id };
};
