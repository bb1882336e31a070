export type { IdRange, InterfaceUsage, Pressure, Traffic } from '../linux/index.ts';
export { attachContainer } from './attach.ts';
export { type CheckpointRequest, checkpointContainer } from './checkpoint-container.ts';
export * from './config.ts';
export { containerPaths } from './container-paths.ts';
export { readSpec } from './container-spec.ts';
export { createContainer } from './create-container.ts';
export { type CommandIo, type ExecStreamRequest, execStream } from './exec-stream.ts';
export { type ExecResult, type ExecSyncRequest, execSync } from './exec-sync.ts';
export * from './lifecycle-observer.ts';
export { openPods, type PodsOptions } from './open-pods.ts';
export { createdContainers, type PodEvent, type PodEventType } from './pod-events.ts';
export type { HostFacts, PodSettings, Pods } from './pods.ts';
export { forwardPort } from './port-forward.ts';
export * from './records.ts';
export { removeContainer } from './remove-container.ts';
export { removeSandbox } from './remove-sandbox.ts';
export { reopenContainerLog } from './reopen-log.ts';
export { runSandbox } from './run-sandbox.ts';
export { runningContainer } from './running-container.ts';
export { runtimeProblem } from './runtime-readiness.ts';
export { type HandlerFeatures, Runtimes } from './runtimes.ts';
export { startContainer } from './start-container.ts';
export {
  type ContainerMeasurements,
  type ContainerStatistics,
  type NetworkSample,
  type Sample,
  type SandboxMeasurements,
  type SandboxStatistics,
  Statistics,
} from './statistics.ts';
export { stopContainer, stopStarted } from './stop-container.ts';
export { stopSandbox } from './stop-sandbox.ts';
export { changeLimits, mergeResources, updateContainerResources } from './update-container.ts';
export { updateSandboxResources } from './update-sandbox.ts';
