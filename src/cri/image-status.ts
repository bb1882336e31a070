import { type ImageStatusRequest, ImageStatusResponse } from '../gen/runtime/v1/api.ts';
import { parseReference } from '../oci/spec/index.ts';
import type { UnaryHandler } from './context.ts';
import { imageMessage } from './image-messages.ts';
import { toImageReference } from './image-spec.ts';

const ID = /^(sha256:)?[0-9a-f]{64}$/;

/** An image that is not here is no error: the answer has none. What names no image is one. */
export const imageStatus: UnaryHandler<ImageStatusRequest, ImageStatusResponse> = async (
  { images },
  request,
) => {
  const name = toImageReference('image', request.image).image;
  const image = await images.find(name);
  if (image === undefined) {
    if (!ID.test(name)) parseReference(name);
    return ImageStatusResponse.fromPartial({});
  }
  return ImageStatusResponse.fromPartial({
    image: imageMessage(image),
    info: request.verbose ? { info: JSON.stringify({ imageSpec: image.config }) } : {},
  });
};
