import type { RemoveImageRequest, RemoveImageResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { toImageReference } from './image-spec.ts';

export const removeImage: UnaryHandler<RemoveImageRequest, RemoveImageResponse> = async (
  { images },
  request,
) => {
  await images.remove(toImageReference('image', request.image).image);
  return {};
};
