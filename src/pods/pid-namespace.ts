import { KeelsonError } from '../base/index.ts';
import { isAlive } from '../linux/index.ts';
import type { NamespaceModes } from './config.ts';
import type { Pods } from './pods.ts';
import type { SandboxRecord } from './records.ts';

/** The PID namespace of a container: the host's, one of its own, or the one at a path. */
export function pidNamespacePath(
  pods: Pods,
  modes: NamespaceModes,
  sandbox: SandboxRecord,
): 'host' | 'new' | (string & {}) {
  switch (modes.pid) {
    case 'node':
      return 'host';
    case 'container':
      return 'new';
    case 'pod':
      return sharedNamespace(sandbox);
    case 'target':
      return targetNamespace(pods, modes.targetId, sandbox);
  }
}

function sharedNamespace(sandbox: SandboxRecord): string {
  if (sandbox.namespaces.pid !== undefined) return sandbox.namespaces.pid;
  throw new KeelsonError('INVALID_ARGUMENT', "Cannot share the pod's PID namespace", {
    reason: 'the sandbox was not made with PID mode POD',
  });
}

function targetNamespace(pods: Pods, targetId: string, sandbox: SandboxRecord): string {
  const action = `Cannot join the PID namespace of container "${targetId}"`;
  const target = pods.containers.find(targetId);
  if (target?.sandboxId !== sandbox.id) {
    throw new KeelsonError('INVALID_ARGUMENT', action, {
      reason: 'the pod has no such container',
    });
  }
  // Its number may be another process's by now, also one of the host.
  if (target.state.phase !== 'running' || !isAlive(target.state.process)) {
    throw new KeelsonError('FAILED_PRECONDITION', action, { reason: 'it is not running' });
  }
  return `/proc/${target.state.process.pid}/ns/pid`;
}
