import type {
  StreamContainersRequest,
  StreamContainersResponse,
  StreamImagesRequest,
  StreamImagesResponse,
  StreamPodSandboxesRequest,
  StreamPodSandboxesResponse,
} from '../gen/runtime/v1/api.ts';
import { inChunks } from './chunks.ts';
import { selectContainers } from './list-containers.ts';
import { selectImages } from './list-images.ts';
import { selectSandboxes } from './list-pod-sandbox.ts';
import type { StreamHandler } from './server-stream.ts';

// Each answers what the list of the same name does, from one moment, in several messages.

export const streamPodSandboxes: StreamHandler<
  StreamPodSandboxesRequest,
  StreamPodSandboxesResponse
> = async function* ({ pods }, { filter }) {
  for (const podSandboxes of inChunks(selectSandboxes(pods, filter))) yield { podSandboxes };
};

export const streamContainers: StreamHandler<StreamContainersRequest, StreamContainersResponse> =
  async function* ({ pods }, { filter }) {
    for (const containers of inChunks(selectContainers(pods, filter))) yield { containers };
  };

export const streamImages: StreamHandler<StreamImagesRequest, StreamImagesResponse> =
  async function* (context, { filter }) {
    for (const images of inChunks(await selectImages(context.images, filter))) yield { images };
  };
