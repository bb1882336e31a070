import { codeOf, errnoOf, KeelsonError, messageOf } from '../base/index.ts';
import { EXIT } from './exit-codes.ts';
import { printable } from './human.ts';

/** A command line that cannot be meant. */
export function usageError(message: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', message);
}

export function exitCodeOf(error: unknown): number {
  switch (codeOf(error)) {
    case 'INVALID_ARGUMENT':
      return EXIT.usage;
    case 'NOT_FOUND':
      return EXIT.notFound;
    case 'UNAVAILABLE':
      return EXIT.unreachable;
    default:
      return EXIT.error;
  }
}

/** One line for stderr: `keelson: cannot …: why`. */
export function errorLine(error: unknown): string {
  const message = printable(messageOf(error).replace(/\s*\n\s*/g, '; '));
  return `keelson: ${message.charAt(0).toLowerCase()}${message.slice(1)}\n`;
}

/** Where an error comes from that nobody expected; '' for those that were. */
export function traceOf(error: unknown): string {
  const expected =
    error instanceof KeelsonError || !(error instanceof Error) || errnoOf(error) !== undefined;
  return expected ? '' : `${error.stack?.split('\n').slice(1).join('\n')}\n`;
}
