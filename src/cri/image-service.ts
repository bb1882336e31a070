import type { ImageServiceServer } from '../gen/runtime/v1/api.ts';
import type { Calls } from './calls.ts';
import type { CriContext } from './context.ts';
import { imageFsInfo } from './image-fs-info.ts';
import { imageStatus } from './image-status.ts';
import { listImages } from './list-images.ts';
import { pullImage } from './pull-image.ts';
import { removeImage } from './remove-image.ts';
import { serverStream } from './server-stream.ts';
import { streamImages } from './stream-lists.ts';
import { unary } from './unary.ts';

/** The RPCs of ImageService that are served; gRPC answers UNIMPLEMENTED for the rest. */
export function imageService(context: CriContext, calls: Calls) {
  return {
    pullImage: unary(context, calls, 'PullImage', pullImage),
    listImages: unary(context, calls, 'ListImages', listImages),
    imageStatus: unary(context, calls, 'ImageStatus', imageStatus),
    streamImages: serverStream(context, calls, 'StreamImages', streamImages),
    removeImage: unary(context, calls, 'RemoveImage', removeImage),
    imageFsInfo: unary(context, calls, 'ImageFsInfo', imageFsInfo),
  } satisfies Partial<ImageServiceServer>;
}
