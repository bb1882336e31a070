import type { ListImagesRequest, ListImagesResponse } from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';
import { imageMessage } from './image-messages.ts';

export const listImages: UnaryHandler<ListImagesRequest, ListImagesResponse> = (
  { images },
  request,
) => {
  const name = request.filter?.image?.image ?? '';
  if (name === '') return { images: images.list().map(imageMessage) };
  const image = images.find(name);
  return { images: image === undefined ? [] : [imageMessage(image)] };
};
