import { type PodSandboxStatusRequest, PodSandboxStatusResponse } from '../gen/runtime/v1/api.ts';
import { createdContainers, now, type SandboxRecord } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { required } from './invalid.ts';
import { resourcesJson } from './resources.ts';
import { containerStatus, sandboxStatus } from './status-messages.ts';

/** With its containers, so that a kubelet that follows events need not ask for each of them. */
export const podSandboxStatus: UnaryHandler<PodSandboxStatusRequest, PodSandboxStatusResponse> = (
  { pods },
  request,
) => {
  const record = pods.sandboxes.get(required('pod_sandbox_id', request.podSandboxId));
  return PodSandboxStatusResponse.fromPartial({
    status: sandboxStatus(record),
    info: request.verbose ? { info: JSON.stringify(verboseInfo(record)) } : {},
    containersStatuses: createdContainers(pods.containers, record.id).map(containerStatus),
    timestamp: BigInt(now()),
  });
};

/** `resources` and `overhead` are where containerd's clients look for what is in effect. */
function verboseInfo({ config, init, namespaces, cgroupParent }: SandboxRecord): object {
  const { resources, overhead } = config;
  return {
    pid: init?.pid ?? 0,
    namespaces,
    cgroupParent,
    ...(resources === undefined ? {} : { resources: resourcesJson(resources) }),
    ...(overhead === undefined ? {} : { overhead: resourcesJson(overhead) }),
    config,
  };
}
