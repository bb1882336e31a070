import type {
  Container,
  ContainerFilter,
  ListContainersRequest,
  ListContainersResponse,
} from '../gen/runtime/v1/api.ts';
import type { ContainerRecord, Pods } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { hasLabels } from './labels.ts';
import { containerItem, containerState } from './status-messages.ts';

export const listContainers: UnaryHandler<ListContainersRequest, ListContainersResponse> = (
  { pods },
  request,
) => ({ containers: selectContainers(pods, request.filter) });

export function selectContainers(pods: Pods, filter: ContainerFilter | undefined): Container[] {
  return pods.containers
    .list()
    .filter((record) => record.state.phase !== 'creating' && matches(record, filter))
    .map(containerItem);
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
