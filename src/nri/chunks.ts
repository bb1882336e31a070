import { KeelsonError } from '../base/index.ts';
import { Container, PodSandbox, type SynchronizeRequest } from '../gen/nri/v1alpha1/api.ts';
import { MESSAGE_LIMIT } from './ttrpc/index.ts';

/** Bytes left for what surrounds the objects. */
const ROOM = 4096;

/** Bytes by which an object in a list exceeds its own encoding, at most: a tag and a length. */
const FRAMING = 8;

/**
 * All pods and then all containers in messages that ttrpc lets through; at least one. Fails
 * with RESOURCE_EXHAUSTED if a single object is too large.
 */
export function* inChunks(
  pods: readonly PodSandbox[],
  containers: readonly Container[],
  limit = MESSAGE_LIMIT - ROOM,
): Generator<SynchronizeRequest> {
  let chunk: SynchronizeRequest = { pods: [], containers: [], more: false };
  let size = 0;
  for (const object of objectsOf(pods, containers)) {
    if (object.size > limit) {
      throw new KeelsonError('RESOURCE_EXHAUSTED', `Cannot tell NRI plugins of "${object.id}"`, {
        reason: `it takes ${object.size} bytes`,
      });
    }
    if (size + object.size > limit) {
      yield { ...chunk, more: true };
      chunk = { pods: [], containers: [], more: false };
      size = 0;
    }
    object.addTo(chunk);
    size += object.size;
  }
  yield chunk;
}

function* objectsOf(pods: readonly PodSandbox[], containers: readonly Container[]) {
  for (const pod of pods) {
    const size = PodSandbox.encode(pod).finish().length + FRAMING;
    yield { id: pod.id, size, addTo: (chunk: SynchronizeRequest) => chunk.pods.push(pod) };
  }
  for (const container of containers) {
    const size = Container.encode(container).finish().length + FRAMING;
    const addTo = (chunk: SynchronizeRequest) => chunk.containers.push(container);
    yield { id: container.id, size, addTo };
  }
}
