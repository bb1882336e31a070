import {
  ContainerEventResponse,
  ContainerEventType,
  type GetEventsRequest,
} from '../gen/runtime/v1/api.ts';
import type { PodEventType } from '../pods/index.ts';
import type { StreamHandler } from './server-stream.ts';
import { containerStatus, sandboxStatus } from './status-messages.ts';

const TYPES: Record<PodEventType, ContainerEventType> = {
  created: ContainerEventType.CONTAINER_CREATED_EVENT,
  started: ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: ContainerEventType.CONTAINER_DELETED_EVENT,
};

/**
 * All changes of state from now on, each with the status of its pod right after. Whoever
 * subscribes, waits for the head of the answer and then lists misses nothing.
 */
export const getContainerEvents: StreamHandler<GetEventsRequest, ContainerEventResponse> =
  async function* ({ pods }, _request, { signal, drop }) {
    for await (const event of pods.events.subscribe(signal, drop)) {
      yield ContainerEventResponse.fromPartial({
        containerId: event.id,
        containerEventType: TYPES[event.type],
        createdAt: BigInt(event.at),
        ...(event.sandbox === undefined ? {} : { podSandboxStatus: sandboxStatus(event.sandbox) }),
        containersStatuses: event.containers.map(containerStatus),
      });
    }
  };
