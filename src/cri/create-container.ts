import type { CreateContainerRequest, CreateContainerResponse } from '../gen/runtime/v1/api.ts';
import { createContainer } from '../pods/index.ts';
import { toContainerConfig } from './container-config.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';

export const createContainerRpc: UnaryHandler<
  CreateContainerRequest,
  CreateContainerResponse
> = async ({ pods }, request, { signal }) => {
  const sandboxId = required('pod_sandbox_id', request.podSandboxId);
  const config = toContainerConfig(request.config);
  return { containerId: await createContainer(pods, sandboxId, config, signal) };
};
