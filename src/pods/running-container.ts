import { KeelsonError } from '../base/index.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';

/** The container, if it runs: `Cannot <action> container "x": it is exited, not running`. */
export function runningContainer(pods: Pods, idOrPrefix: string, action: string): ContainerRecord {
  const container = pods.containers.get(idOrPrefix);
  if (container.state.phase === 'running') return container;
  throw new KeelsonError('FAILED_PRECONDITION', `Cannot ${action} container "${container.id}"`, {
    reason: `it is ${container.state.phase}, not running`,
  });
}
