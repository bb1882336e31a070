import { KeelsonError } from '../../base/index.ts';

/** That a plugin wants something for a container that it cannot have. */
export function refusal(what: string, reason: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot give a container ${what}`, { reason });
}
