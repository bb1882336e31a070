import { KeelsonError } from '../base/index.ts';
import { type ContainerStatusRequest, ContainerStatusResponse } from '../gen/runtime/v1/api.ts';
import { type ContainerRecord, containerPaths, type Pods, readSpec } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { containerStatus } from './status-messages.ts';

export const containerStatusRpc: UnaryHandler<
  ContainerStatusRequest,
  ContainerStatusResponse
> = async ({ pods }, request) => {
  const record = findCreated(pods, required('container_id', request.containerId));
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

/** What is still being created, and may never be, is not there yet: lists leave it out, too. */
function findCreated(pods: Pods, idOrPrefix: string): ContainerRecord {
  const record = pods.containers.get(idOrPrefix);
  if (record.state.phase !== 'creating') return record;
  throw new KeelsonError('NOT_FOUND', `There is no container "${idOrPrefix}"`, {
    reason: 'it is still being created',
  });
}
