import { KeelsonError } from '../base/index.ts';
import type {
  CheckpointPodRequest,
  CheckpointPodResponse,
  RestorePodRequest,
  RestorePodResponse,
} from '../gen/runtime/v1/api.ts';
import type { UnaryHandler } from './context.ts';

/** Status tells it too. */
export const NO_POD_CHECKPOINTS =
  'no OCI runtime can hold all containers of a pod still at one moment and restore them together';

export const checkpointPod: UnaryHandler<CheckpointPodRequest, CheckpointPodResponse> = () =>
  refuse('checkpoint');

export const restorePod: UnaryHandler<RestorePodRequest, RestorePodResponse> = () =>
  refuse('restore');

async function refuse(what: string): Promise<never> {
  throw new KeelsonError('UNIMPLEMENTED', `Cannot ${what} a pod`, { reason: NO_POD_CHECKPOINTS });
}
