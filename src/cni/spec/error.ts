import { type ErrorCode, KeelsonError } from '../../base/index.ts';
import type { CniVersion } from './versions.ts';

/** Error codes that the CNI specification reserves (0 to 99); plugins have their own from 100. */
export const CNI_ERROR = {
  UNKNOWN: 0,
  INCOMPATIBLE_VERSION: 1,
  UNSUPPORTED_FIELD: 2,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  IO_FAILURE: 5,
  DECODING_FAILURE: 6,
  INVALID_CONFIG: 7,
  INVALID_NETNS: 8,
  TRY_AGAIN_LATER: 11,
  PLUGIN_NOT_AVAILABLE: 50,
  PLUGIN_NOT_AVAILABLE_LIMITED: 51,
  INTERNAL: 999,
} as const;

export interface CniErrorDetails {
  /** The `details` of the error object: more for the reader, such as what a program printed. */
  details?: string;
  cause?: unknown;
  hint?: string;
}

/**
 * A CNI error: what a plugin answers when it fails, made by a plugin program, a built-in
 * plugin or the engine. The message reads `msg: details`.
 */
export class CniError extends KeelsonError {
  readonly cniCode: number;
  readonly msg: string;
  readonly details: string;

  constructor(cniCode: number, msg: string, options: CniErrorDetails = {}) {
    const { details, cause, hint } = options;
    super(codeFor(cniCode), msg, {
      ...(details === undefined || details === '' ? {} : { reason: details }),
      ...(cause === undefined ? {} : { cause }),
      ...(hint === undefined ? {} : { hint }),
    });
    this.cniCode = cniCode;
    this.msg = msg;
    this.details = details ?? (cause instanceof Error ? cause.message : '');
  }
}

/** The error object that a plugin prints. */
export interface CniErrorObject {
  cniVersion: string;
  code: number;
  msg: string;
  details?: string;
}

export function formatError(error: unknown, cniVersion: CniVersion): CniErrorObject {
  const cni = cniErrorOf(error);
  const base = { cniVersion, code: cni?.cniCode ?? CNI_ERROR.INTERNAL };
  // A wrapper around a CNI error says more than the error itself.
  if (cni === undefined || cni !== error) {
    return { ...base, msg: error instanceof Error ? error.message : String(error) };
  }
  return { ...base, msg: cni.msg, ...(cni.details === '' ? {} : { details: cni.details }) };
}

/** The CNI error that `error` is or was caused by. */
export function cniErrorOf(error: unknown): CniError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof CniError) return at;
  }
  return undefined;
}

function codeFor(cniCode: number): ErrorCode {
  switch (cniCode) {
    case CNI_ERROR.INCOMPATIBLE_VERSION:
    case CNI_ERROR.INVALID_CONFIG:
    case CNI_ERROR.UNSUPPORTED_FIELD:
      return 'FAILED_PRECONDITION';
    case CNI_ERROR.UNKNOWN_CONTAINER:
      return 'NOT_FOUND';
    case CNI_ERROR.INVALID_ENVIRONMENT:
    case CNI_ERROR.INVALID_NETNS:
      return 'INVALID_ARGUMENT';
    case CNI_ERROR.TRY_AGAIN_LATER:
    case CNI_ERROR.PLUGIN_NOT_AVAILABLE:
    case CNI_ERROR.PLUGIN_NOT_AVAILABLE_LIMITED:
      return 'UNAVAILABLE';
    case CNI_ERROR.IO_FAILURE:
    case CNI_ERROR.DECODING_FAILURE:
    case CNI_ERROR.INTERNAL:
      return 'INTERNAL';
    default:
      return 'UNKNOWN';
  }
}
