import type {
  UpdatePodSandboxResourcesRequest,
  UpdatePodSandboxResourcesResponse,
} from '../gen/runtime/v1/api.ts';
import { updateSandboxResources } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { toResources } from './resources.ts';

/**
 * Notes the new sums of a pod. The limits themselves are those of the pod's cgroup, which
 * the kubelet has changed before it tells.
 */
export const updatePodSandboxResources: UnaryHandler<
  UpdatePodSandboxResourcesRequest,
  UpdatePodSandboxResourcesResponse
> = async ({ pods }, request, { signal }) => {
  const id = required('pod_sandbox_id', request.podSandboxId);
  const resources = request.resources && toResources('resources', request.resources);
  const overhead = request.overhead && toResources('overhead', request.overhead);
  await updateSandboxResources(pods, id, { resources, overhead }, signal);
  return {};
};
