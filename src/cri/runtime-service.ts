import type { RuntimeServiceServer } from '../gen/runtime/v1/api.ts';
import { attach } from './attach.ts';
import type { Calls } from './calls.ts';
import { checkpointContainerRpc } from './checkpoint-container.ts';
import { checkpointPod, restorePod } from './checkpoint-pod.ts';
import { containerStatsRpc, listContainerStats, streamContainerStats } from './container-stats.ts';
import { containerStatusRpc } from './container-status.ts';
import type { CriContext } from './context.ts';
import { createContainerRpc } from './create-container.ts';
import { exec } from './exec.ts';
import { execSyncRpc } from './exec-sync.ts';
import { getContainerEvents } from './get-container-events.ts';
import { listContainers } from './list-containers.ts';
import { listPodSandbox } from './list-pod-sandbox.ts';
import {
  listMetricDescriptors,
  listPodSandboxMetrics,
  streamPodSandboxMetrics,
} from './pod-sandbox-metrics.ts';
import {
  listPodSandboxStats,
  podSandboxStats,
  streamPodSandboxStats,
} from './pod-sandbox-stats.ts';
import { podSandboxStatus } from './pod-sandbox-status.ts';
import { portForward } from './port-forward.ts';
import { removeContainerRpc } from './remove-container.ts';
import { removePodSandbox } from './remove-pod-sandbox.ts';
import { reopenContainerLogRpc } from './reopen-container-log.ts';
import { runPodSandbox } from './run-pod-sandbox.ts';
import { runtimeConfig } from './runtime-config.ts';
import { serverStream } from './server-stream.ts';
import { startContainerRpc } from './start-container.ts';
import { status } from './status.ts';
import { stopContainerRpc } from './stop-container.ts';
import { stopPodSandbox } from './stop-pod-sandbox.ts';
import { streamContainers, streamPodSandboxes } from './stream-lists.ts';
import { unary } from './unary.ts';
import { updateContainerResourcesRpc } from './update-container-resources.ts';
import { updatePodSandboxResources } from './update-pod-sandbox-resources.ts';
import { updateRuntimeConfig } from './update-runtime-config.ts';
import { version } from './version.ts';

/** The RPCs of RuntimeService that are served; gRPC answers UNIMPLEMENTED for the rest. */
export function runtimeService(context: CriContext, calls: Calls) {
  return {
    version: unary(context, calls, 'Version', version),
    status: unary(context, calls, 'Status', status),
    runtimeConfig: unary(context, calls, 'RuntimeConfig', runtimeConfig),
    updateRuntimeConfig: unary(context, calls, 'UpdateRuntimeConfig', updateRuntimeConfig),
    runPodSandbox: unary(context, calls, 'RunPodSandbox', runPodSandbox),
    stopPodSandbox: unary(context, calls, 'StopPodSandbox', stopPodSandbox),
    removePodSandbox: unary(context, calls, 'RemovePodSandbox', removePodSandbox),
    podSandboxStatus: unary(context, calls, 'PodSandboxStatus', podSandboxStatus),
    listPodSandbox: unary(context, calls, 'ListPodSandbox', listPodSandbox),
    createContainer: unary(context, calls, 'CreateContainer', createContainerRpc),
    startContainer: unary(context, calls, 'StartContainer', startContainerRpc),
    updateContainerResources: unary(
      context,
      calls,
      'UpdateContainerResources',
      updateContainerResourcesRpc,
    ),
    updatePodSandboxResources: unary(
      context,
      calls,
      'UpdatePodSandboxResources',
      updatePodSandboxResources,
    ),
    stopContainer: unary(context, calls, 'StopContainer', stopContainerRpc),
    removeContainer: unary(context, calls, 'RemoveContainer', removeContainerRpc),
    listContainers: unary(context, calls, 'ListContainers', listContainers),
    containerStatus: unary(context, calls, 'ContainerStatus', containerStatusRpc),
    exec: unary(context, calls, 'Exec', exec),
    attach: unary(context, calls, 'Attach', attach),
    portForward: unary(context, calls, 'PortForward', portForward),
    execSync: unary(context, calls, 'ExecSync', execSyncRpc),
    containerStats: unary(context, calls, 'ContainerStats', containerStatsRpc),
    listContainerStats: unary(context, calls, 'ListContainerStats', listContainerStats),
    streamContainerStats: serverStream(
      context,
      calls,
      'StreamContainerStats',
      streamContainerStats,
    ),
    podSandboxStats: unary(context, calls, 'PodSandboxStats', podSandboxStats),
    listPodSandboxStats: unary(context, calls, 'ListPodSandboxStats', listPodSandboxStats),
    streamPodSandboxStats: serverStream(
      context,
      calls,
      'StreamPodSandboxStats',
      streamPodSandboxStats,
    ),
    listMetricDescriptors: unary(context, calls, 'ListMetricDescriptors', listMetricDescriptors),
    listPodSandboxMetrics: unary(context, calls, 'ListPodSandboxMetrics', listPodSandboxMetrics),
    streamPodSandboxMetrics: serverStream(
      context,
      calls,
      'StreamPodSandboxMetrics',
      streamPodSandboxMetrics,
    ),
    getContainerEvents: serverStream(context, calls, 'GetContainerEvents', getContainerEvents),
    streamPodSandboxes: serverStream(context, calls, 'StreamPodSandboxes', streamPodSandboxes),
    streamContainers: serverStream(context, calls, 'StreamContainers', streamContainers),
    checkpointContainer: unary(context, calls, 'CheckpointContainer', checkpointContainerRpc),
    checkpointPod: unary(context, calls, 'CheckpointPod', checkpointPod),
    restorePod: unary(context, calls, 'RestorePod', restorePod),
    reopenContainerLog: unary(context, calls, 'ReopenContainerLog', reopenContainerLogRpc),
  } satisfies Partial<RuntimeServiceServer>;
}
