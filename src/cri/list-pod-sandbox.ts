import type {
  ListPodSandboxRequest,
  ListPodSandboxResponse,
  PodSandbox,
  PodSandboxFilter,
} from '../gen/runtime/v1/api.ts';
import type { Pods, SandboxRecord } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { hasLabels } from './labels.ts';
import { sandboxItem, sandboxState } from './status-messages.ts';

export const listPodSandbox: UnaryHandler<ListPodSandboxRequest, ListPodSandboxResponse> = (
  { pods },
  request,
) => ({ items: selectSandboxes(pods, request.filter) });

export function selectSandboxes(pods: Pods, filter: PodSandboxFilter | undefined): PodSandbox[] {
  return pods.sandboxes
    .list()
    .filter((record) => record.state.phase !== 'creating' && matches(record, filter))
    .map(sandboxItem);
}

/** All fields that are set must match; an id may be a prefix. */
function matches(record: SandboxRecord, filter: PodSandboxFilter | undefined): boolean {
  return (
    filter === undefined ||
    (record.id.startsWith(filter.id) &&
      (filter.state === undefined || filter.state.state === sandboxState(record)) &&
      hasLabels(record.config.labels, filter.labelSelector))
  );
}
