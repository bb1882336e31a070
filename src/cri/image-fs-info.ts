import {
  type FilesystemUsage,
  type ImageFsInfoRequest,
  ImageFsInfoResponse,
} from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';

export const imageFsInfo: UnaryHandler<ImageFsInfoRequest, ImageFsInfoResponse> = ({ images }) => {
  const { mountpoint, usedBytes, inodesUsed } = images.usage();
  const usage: FilesystemUsage = {
    timestamp: BigInt(Date.now()) * 1_000_000n,
    fsId: { mountpoint },
    usedBytes: { value: BigInt(usedBytes) },
    inodesUsed: { value: BigInt(inodesUsed) },
  };
  // Images and writable layers lie on the same file system.
  return ImageFsInfoResponse.fromPartial({
    imageFilesystems: [usage],
    containerFilesystems: [usage],
  });
};
