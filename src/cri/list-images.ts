import type {
  Image,
  ImageFilter,
  ListImagesRequest,
  ListImagesResponse,
} from '../gen/runtime/v1/api.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { UnaryHandler } from './context.ts';
import { imageMessage } from './image-messages.ts';

export const listImages: UnaryHandler<ListImagesRequest, ListImagesResponse> = (
  { images },
  request,
) => ({ images: selectImages(images, request.filter) });

export function selectImages(images: ImageStore, filter: ImageFilter | undefined): Image[] {
  const name = filter?.image?.image ?? '';
  if (name === '') return images.list().map(imageMessage);
  const image = images.find(name);
  return image === undefined ? [] : [imageMessage(image)];
}
