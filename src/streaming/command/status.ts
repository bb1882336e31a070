import { codeOf, type ErrorCode, messageOf } from '../../base/index.ts';
import type { ExitStatus } from '../backend.ts';

/**
 * The versions of the remote command protocol: 2 has half-close, 3 resizing, 4 the status
 * as JSON, 5 a message for half-close over WebSocket. 1 is served like 2.
 */
export type CommandVersion = 1 | 2 | 3 | 4 | 5;

/** What the error stream says of a command that ended. Empty: nothing to say. */
export function exitReport(version: CommandVersion, exit: ExitStatus | undefined): string {
  const code = exit?.code ?? 0;
  const message = `command terminated with non-zero exit code: exit code ${code}`;
  if (version < 4) return code === 0 ? '' : message;
  if (code === 0) return JSON.stringify({ status: 'Success' });
  return JSON.stringify({
    status: 'Failure',
    message,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  });
}

/** HTTP-like codes for what a Kubernetes client shows; all else is 500. */
const HTTP_CODE: Partial<Record<ErrorCode, number>> = { NOT_FOUND: 404, UNAVAILABLE: 503 };

/** What the error stream says of a command that could not be run, or a session that was ended. */
export function failureReport(version: CommandVersion, error: unknown): string {
  const message = messageOf(error);
  if (version < 4) return message;
  return JSON.stringify({
    status: 'Failure',
    message: `Internal error occurred: ${message}`,
    reason: 'InternalError',
    details: { causes: [{ message }] },
    code: HTTP_CODE[codeOf(error)] ?? 500,
  });
}
