import { KeelsonError } from '../../base/index.ts';

/** A request that breaks the rules. `field` is named as in TypeScript or in the specification. */
export function invalid(rpc: string, field: string, reason: string): KeelsonError {
  const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return new KeelsonError('INVALID_ARGUMENT', `Invalid ${name} of ${rpc}`, { reason });
}
