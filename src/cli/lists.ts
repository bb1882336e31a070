import {
  type Container,
  ContainerFilter,
  ContainerState,
  type Image,
  ImageFilter,
  ImageServiceService,
  ListContainersRequest,
  ListPodSandboxRequest,
  type PodSandbox,
  PodSandboxFilter,
  PodSandboxState,
  RuntimeServiceService,
} from '../gen/runtime/v1/api.ts';
import type { CriClient } from './cri-client.ts';
import { type ListFilters, NAMESPACE_LABEL, newest } from './filters.ts';

export const POD_STATES = {
  ready: PodSandboxState.SANDBOX_READY,
  notready: PodSandboxState.SANDBOX_NOTREADY,
} as const;

export const CONTAINER_STATES = {
  created: ContainerState.CONTAINER_CREATED,
  running: ContainerState.CONTAINER_RUNNING,
  exited: ContainerState.CONTAINER_EXITED,
  unknown: ContainerState.CONTAINER_UNKNOWN,
} as const;

export interface PodFilters extends ListFilters {
  state?: PodSandboxState;
}

export interface ContainerFilters extends ListFilters {
  state?: ContainerState;
  /** All states, not only running ones. */
  all?: boolean;
  /** The pod's id. */
  pod?: string;
  image?: string;
}

/** Pods, newest first. */
export async function listPods(cri: CriClient, filters: PodFilters): Promise<PodSandbox[]> {
  const filter = PodSandboxFilter.fromPartial({
    id: filters.id ?? '',
    labelSelector: filters.label ?? {},
    ...(filters.state === undefined ? {} : { state: { state: filters.state } }),
  });
  const { items } = await cri.call(
    RuntimeServiceService.listPodSandbox,
    ListPodSandboxRequest.fromPartial({ filter }),
    { action: 'Cannot list pods' },
  );
  return newest(
    items.filter(
      ({ metadata }) =>
        (filters.name?.test(metadata?.name ?? '') ?? true) &&
        (filters.namespace?.test(metadata?.namespace ?? '') ?? true),
    ),
    filters,
  );
}

/** Containers, newest first; only running ones unless the filters ask for others. */
export async function listContainers(
  cri: CriClient,
  filters: ContainerFilters,
): Promise<Container[]> {
  const anyState = filters.latest || filters.last !== undefined;
  const fallback = filters.all ? undefined : ContainerState.CONTAINER_RUNNING;
  const state = anyState ? undefined : (filters.state ?? fallback);
  const filter = ContainerFilter.fromPartial({
    id: filters.id ?? '',
    podSandboxId: filters.pod ?? '',
    labelSelector: filters.label ?? {},
    ...(state === undefined ? {} : { state: { state } }),
  });
  const { containers } = await cri.call(
    RuntimeServiceService.listContainers,
    ListContainersRequest.fromPartial({ filter }),
    { action: 'Cannot list containers' },
  );
  const ofImage = await imageMatcher(cri, filters.image);
  return newest(
    containers.filter(
      (container) =>
        ofImage(container) &&
        (filters.name?.test(container.metadata?.name ?? '') ?? true) &&
        (filters.namespace?.test(container.labels[NAMESPACE_LABEL] ?? '') ?? true),
    ),
    filters,
  );
}

export async function listImages(cri: CriClient, reference = ''): Promise<Image[]> {
  const filter = ImageFilter.fromPartial({ image: { image: reference } });
  const request = { filter: reference === '' ? undefined : filter };
  const { images } = await cri.call(ImageServiceService.listImages, request, {
    action: 'Cannot list images',
  });
  const name = (image: Image) => image.repoTags[0] ?? image.repoDigests[0] ?? image.id;
  return images.toSorted((a, b) => (name(a) < name(b) ? -1 : 1));
}

/** Whether a container runs the image of that name, tag, digest or id. */
async function imageMatcher(
  cri: CriClient,
  reference: string | undefined,
): Promise<(container: Container) => boolean> {
  if (reference === undefined) return () => true;
  const { image } = await cri.call(
    ImageServiceService.imageStatus,
    { image: imageSpec(reference), verbose: false },
    { action: `Cannot look up image "${reference}"` },
  );
  if (image === undefined) return () => false;
  const names = new Set([image.id, ...image.repoTags, ...image.repoDigests, reference]);
  return (container) =>
    [container.imageId, container.imageRef, container.image?.image].some(
      (name) => name !== undefined && name !== '' && names.has(name),
    );
}

/** The image that a user named. */
export function imageSpec(reference: string) {
  return {
    image: reference,
    annotations: {},
    userSpecifiedImage: '',
    runtimeHandler: '',
    imageRef: '',
  };
}
