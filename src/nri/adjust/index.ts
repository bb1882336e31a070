export { adjustSpec } from './adjust-spec.ts';
export { claimsOf, resourceClaims } from './claims.ts';
export { combine } from './combine.ts';
export { limitsMessage, withLimits } from './limits.ts';
export { Owners } from './owners.ts';
export { refusal } from './refusal.ts';
export type { RuntimeAbility } from './scheduling.ts';
