/**
 * Why something failed, in the vocabulary of gRPC (https://grpc.io/docs/guides/status-codes),
 * because every error of Keelson may end up as a gRPC status.
 */
export type ErrorCode =
  | 'CANCELLED'
  | 'UNKNOWN'
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'OUT_OF_RANGE'
  | 'UNIMPLEMENTED'
  | 'INTERNAL'
  | 'UNAVAILABLE'
  | 'DATA_LOSS'
  | 'UNAUTHENTICATED';

export interface ErrorDetails {
  /** What went wrong, without a trailing full stop. Left out: the cause's message. */
  reason?: string;
  cause?: unknown;
  /** What the reader can do about it. */
  hint?: string;
}

/**
 * The one error class. `message` reads `action: reason (hint)`, for example
 * `Cannot pull image "x": registry answered 404 (check the name and the tag)`.
 * Values from outside are quoted; secrets never enter any part.
 */
export class KeelsonError extends Error {
  override readonly name = 'KeelsonError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, action: string, details: ErrorDetails = {}) {
    const reason =
      details.reason ?? (details.cause === undefined ? undefined : messageOf(details.cause));
    const hint = details.hint === undefined ? '' : ` (${details.hint})`;
    super(
      `${action}${reason === undefined ? '' : `: ${reason}`}${hint}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.hint = details.hint;
  }
}

/** The code of an error: its own, that of an abort, or UNKNOWN. */
export function codeOf(error: unknown): ErrorCode {
  if (error instanceof KeelsonError) return error.code;
  if (error instanceof Error) {
    if (error.name === 'TimeoutError') return 'DEADLINE_EXCEEDED';
    if (error.name === 'AbortError') return 'CANCELLED';
    const errno = errnoOf(error);
    if (errno === 'ENOSPC' || errno === 'EDQUOT') return 'RESOURCE_EXHAUSTED';
  }
  return 'UNKNOWN';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Wraps an error with the action that failed, keeping its code. */
export function during(action: string, cause: unknown, hint?: string): KeelsonError {
  return new KeelsonError(codeOf(cause), action, hint === undefined ? { cause } : { cause, hint });
}

/** The symbolic errno of a system error, such as `ENOENT`. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Runs `work`, and answers undefined instead of failing when the file or directory is not
 * there. A file below /proc whose process ends while it is read says ESRCH.
 */
export async function ifExists<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}

/** Throws if `value` is undefined; the message says what was expected. */
export function expectValue<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new KeelsonError('INTERNAL', `Missing ${what}`);
  return value;
}
