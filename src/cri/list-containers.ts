import {
  Container,
  type ContainerFilter,
  type ListContainersRequest,
  ListContainersResponse,
} from '../gen/runtime/v1/api.ts';
import type { ContainerRecord, Pods } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { ItemEncoder } from './encoded-lists.ts';
import { hasLabels } from './labels.ts';
import { containerItem, containerState } from './status-messages.ts';

export const listContainers: UnaryHandler<ListContainersRequest, ListContainersResponse> = (
  { pods },
  request,
) => encoder.respond(ListContainersResponse.create(), select(pods, request.filter));

const encoder = new ItemEncoder(Container, containerItem);

export function selectContainers(pods: Pods, filter: ContainerFilter | undefined): Container[] {
  return select(pods, filter).map(containerItem);
}

function select(pods: Pods, filter: ContainerFilter | undefined): ContainerRecord[] {
  return pods.containers
    .list()
    .filter((record) => record.state.phase !== 'creating' && matches(record, filter));
}

/** All fields that are set must match; an id may be a prefix. */
function matches(record: ContainerRecord, filter: ContainerFilter | undefined): boolean {
  return (
    filter === undefined ||
    (record.id.startsWith(filter.id) &&
      record.sandboxId.startsWith(filter.podSandboxId) &&
      (filter.state === undefined || filter.state.state === containerState(record)) &&
      hasLabels(record.config.labels, filter.labelSelector))
  );
}
