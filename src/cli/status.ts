import { KeelsonError } from '../base/index.ts';
import {
  type ContainerStatusResponse,
  ImageServiceService,
  type ImageStatusResponse,
  type PodSandboxStatusResponse,
  RuntimeServiceService,
} from '../gen/runtime/v1/api.ts';
import type { CriClient } from './cri-client.ts';
import { imageSpec } from './lists.ts';

/** Fails with NOT_FOUND. The id may be the beginning of one. */
export function containerStatus(
  cri: CriClient,
  id: string,
  verbose = false,
): Promise<ContainerStatusResponse> {
  const request = { containerId: id, verbose };
  const action = `Cannot inspect container "${id}"`;
  return cri.call(RuntimeServiceService.containerStatus, request, { action });
}

/** Fails with NOT_FOUND. The id may be the beginning of one. */
export function podStatus(
  cri: CriClient,
  id: string,
  verbose = false,
): Promise<PodSandboxStatusResponse> {
  const request = { podSandboxId: id, verbose };
  const action = `Cannot inspect pod "${id}"`;
  return cri.call(RuntimeServiceService.podSandboxStatus, request, { action });
}

/** Fails with NOT_FOUND, where CRI itself only answers nothing. */
export async function imageStatus(
  cri: CriClient,
  reference: string,
  verbose = false,
): Promise<ImageStatusResponse & { image: NonNullable<ImageStatusResponse['image']> }> {
  const action = `Cannot inspect image "${reference}"`;
  const request = { image: imageSpec(reference), verbose };
  const answer = await cri.call(ImageServiceService.imageStatus, request, { action });
  const { image } = answer;
  if (image !== undefined) return { ...answer, image };
  throw new KeelsonError('NOT_FOUND', action, { reason: 'there is no such image here' });
}
