import { codeOf, type ErrorCode, type ErrorDetails, KeelsonError } from '../../base/index.ts';

/** A call to a driver that failed. The code is that of the gRPC status. */
export class CsiError extends KeelsonError {
  /**
   * Whether the driver itself answered with the error. False: no answer came (a deadline, a
   * connection that broke), or one that makes no sense.
   */
  readonly answered: boolean;

  constructor(code: ErrorCode, action: string, answered: boolean, details: ErrorDetails = {}) {
    super(code, action, details);
    this.answered = answered;
  }
}

/** What is known of the volume after a call that failed. */
export type Outcome =
  /** The driver has not done it and will not: nothing needs to be undone. */
  | 'failed'
  /**
   * It may be done, be under way, or be done later. The same call must be repeated until
   * its outcome is known, or be reversed by its inverse (CSI specification, "Error Scheme"
   * and "CreateVolume").
   */
  | 'unknown';

/** Answers of a driver that leave open whether the work goes on, as kubelet and the sidecars see it. */
const UNKNOWN_OUTCOME: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(['CANCELLED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'ABORTED'] as const),
]);

/** Tells a final error from one after which anything may be the case. Not a driver's error: unknown. */
export function outcomeOf(error: unknown): Outcome {
  const driver = csiErrorOf(error);
  if (driver === undefined || !driver.answered) return 'unknown';
  return UNKNOWN_OUTCOME.has(driver.code) ? 'unknown' : 'failed';
}

/** When a failed call may be made again. */
export type Retry =
  /** The same call, with exponential back-off. */
  | 'back-off'
  /** Only with other arguments: the same ones fail for ever. */
  | 'changed'
  /** Never: the driver does not offer the call. */
  | 'never';

const RETRY: Partial<Record<ErrorCode, Retry>> = {
  INVALID_ARGUMENT: 'changed',
  ALREADY_EXISTS: 'changed',
  OUT_OF_RANGE: 'changed',
  UNIMPLEMENTED: 'never',
};

/** What the specification's "Recovery Behavior" says of an error. */
export function retryOf(error: unknown): Retry {
  if (csiErrorOf(error)?.answered === false) return 'back-off';
  return RETRY[codeOf(error)] ?? 'back-off';
}

/** Whether a driver answered that it has no such volume. */
export function saysNotFound(error: unknown): boolean {
  const driver = csiErrorOf(error);
  return driver?.answered === true && driver.code === 'NOT_FOUND';
}

/** The driver's error in an error or among its causes. */
export function csiErrorOf(error: unknown): CsiError | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof CsiError) return each;
  }
  return undefined;
}
