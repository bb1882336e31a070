import type {
  UpdateContainerResourcesRequest,
  UpdateContainerResourcesResponse,
} from '../gen/runtime/v1/api.ts';
import { updateContainerResources } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { invalid, required } from './invalid.ts';
import { toResources } from './resources.ts';

/** Zero values leave a limit as it is. */
export const updateContainerResourcesRpc: UnaryHandler<
  UpdateContainerResourcesRequest,
  UpdateContainerResourcesResponse
> = async ({ pods }, request, { signal }) => {
  const id = required('container_id', request.containerId);
  if (request.windows !== undefined) throw invalid('windows', 'this is a Linux node');
  const resources = toResources('linux', required('linux', request.linux));
  const changes = { ...resources, oomScoreAdj: resources.oomScoreAdj || undefined };
  await updateContainerResources(pods, id, changes, signal);
  return {};
};
