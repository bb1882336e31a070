import {
  type ListPodSandboxRequest,
  ListPodSandboxResponse,
  PodSandbox,
  type PodSandboxFilter,
} from '../gen/runtime/v1/api.ts';
import type { Pods, SandboxRecord } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { ItemEncoder } from './encoded-lists.ts';
import { hasLabels } from './labels.ts';
import { sandboxItem, sandboxState } from './status-messages.ts';

export const listPodSandbox: UnaryHandler<ListPodSandboxRequest, ListPodSandboxResponse> = (
  { pods },
  request,
) => encoder.respond(ListPodSandboxResponse.create(), select(pods, request.filter));

const encoder = new ItemEncoder(PodSandbox, sandboxItem);

export function selectSandboxes(pods: Pods, filter: PodSandboxFilter | undefined): PodSandbox[] {
  return select(pods, filter).map(sandboxItem);
}

function select(pods: Pods, filter: PodSandboxFilter | undefined): SandboxRecord[] {
  return pods.sandboxes
    .list()
    .filter((record) => record.state.phase !== 'creating' && matches(record, filter));
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
