import { type StatusObject, status } from '@grpc/grpc-js';
import {
  codeOf,
  type ErrorCode,
  errnoOf,
  KeelsonError,
  type Logger,
  messageOf,
  span,
} from '../../base/index.ts';
import { checkAnswer } from '../protocol/answers.ts';
import { redact, withoutSecrets } from '../protocol/secrets.ts';
import { completeResponse } from '../protocol/services.ts';
import type { CallLocks } from './call-locks.ts';
import type { DriverCall } from './driver.ts';
import { type Rules, validate } from './validate.ts';

export interface CallContext {
  readonly rules: Rules;
  readonly locks: CallLocks;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * One call from its request to its answer: checked, locked, done, checked again. Fails with
 * what `failureOf` makes a status of.
 */
export function answerCall(
  rpc: string,
  request: object,
  work: (call: DriverCall) => Promise<object>,
  { rules, locks, logger, signal }: CallContext,
): Promise<object> {
  return span(`csi.driver.${rpc}`, {}, async () => {
    logger.debug({ rpc, request: withoutSecrets(request) }, `${rpc} called`);
    validate(rpc, request, rules);
    using _held = locks.acquire(rpc, request);
    const response = completeResponse(rpc, await work({ rpc, signal, logger }));
    checkAnswer(rpc, response, `Cannot answer ${rpc}`);
    return response;
  });
}

/** Errors that a CO meets in its usual work. */
const USUAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(['NOT_FOUND', 'INVALID_ARGUMENT', 'ALREADY_EXISTS', 'ABORTED', 'OUT_OF_RANGE'] as const),
]);

/** The gRPC status of an error, which is logged on the way; neither holds secrets of the request. */
export function failureOf(
  rpc: string,
  request: object,
  error: unknown,
  logger: Logger,
): Pick<StatusObject, 'code' | 'details'> {
  const code = statusOf(error);
  const details = redact(messageOf(error), request);
  const fields = { rpc, code, request: withoutSecrets(request) };
  if (USUAL.has(code)) logger.info(fields, `${rpc} failed: ${details}`);
  else logger.warn(fields, `${rpc} failed: ${details}`);
  return { code: status[code], details: details === '' ? code : details };
}

/** An error that nobody gave a code is INTERNAL: UNKNOWN says nothing to a CO. */
function statusOf(error: unknown): ErrorCode {
  const code = codeOf(error);
  if (code !== 'UNKNOWN') return code;
  if (error instanceof KeelsonError && errnoOf(error.cause) === 'ENOSPC')
    return 'RESOURCE_EXHAUSTED';
  return 'INTERNAL';
}
