import type {
  Image,
  ImageFilter,
  ListImagesRequest,
  ListImagesResponse,
} from '../gen/runtime/v1/api.ts';
import type { ImageStore } from '../oci/images/index.ts';
import type { UnaryHandler } from './context.ts';
import { imageMessage } from './image-messages.ts';

export const listImages: UnaryHandler<ListImagesRequest, ListImagesResponse> = async (
  { images },
  request,
) => ({ images: await selectImages(images, request.filter) });

export async function selectImages(
  images: ImageStore,
  filter: ImageFilter | undefined,
): Promise<Image[]> {
  const name = filter?.image?.image ?? '';
  if (name === '') return images.list().map(imageMessage);
  const image = await images.find(name);
  return image === undefined ? [] : [imageMessage(image)];
}
