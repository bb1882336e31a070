import { type ImageStatusRequest, ImageStatusResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { imageMessage } from './image-messages.ts';
import { toImageReference } from './image-spec.ts';

/** An image that is not here is no error: the answer has none. */
export const imageStatus: UnaryHandler<ImageStatusRequest, ImageStatusResponse> = (
  { images },
  request,
) => {
  const image = images.find(toImageReference('image', request.image).image);
  if (image === undefined) return ImageStatusResponse.fromPartial({});
  return ImageStatusResponse.fromPartial({
    image: imageMessage(image),
    info: request.verbose ? { info: JSON.stringify({ imageSpec: image.config }) } : {},
  });
};
