export { checkpointProblem } from './checkpoint-support.ts';
export * from './conmon.ts';
export type { ExecCommand, ExecFiles } from './exec-command.ts';
export { MonitorLog, pauses } from './monitor-log.ts';
export * from './oci-runtime.ts';
export { type RestoreSource, restoredProcess, startByStandIn } from './stand-in.ts';
