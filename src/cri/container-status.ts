import { type ContainerStatusRequest, ContainerStatusResponse } from '../gen/runtime/v1/api.ts';
import { containerPaths, readSpec } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { containerStatus } from './status-messages.ts';

export const containerStatusRpc: UnaryHandler<
  ContainerStatusRequest,
  ContainerStatusResponse
> = async ({ pods }, request) => {
  const record = pods.containers.get(required('container_id', request.containerId));
  const status = containerStatus(record);
  if (!request.verbose) return ContainerStatusResponse.fromPartial({ status });
  const info = {
    sandboxID: record.sandboxId,
    pid: 'process' in record.state ? record.state.process.pid : 0,
    runtimeHandler: record.handler,
    cgroupsPath: record.cgroupsPath,
    config: record.config,
    runtimeSpec: await readSpec(containerPaths(pods, record.id).bundle),
  };
  return ContainerStatusResponse.fromPartial({ status, info: { info: JSON.stringify(info) } });
};
