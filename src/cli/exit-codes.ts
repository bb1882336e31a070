import { codeOf, KeelsonError, messageOf } from '../base/index.ts';

/** What the exit code of the program means; docs/cli.md tells users. */
export const EXIT = {
  ok: 0,
  /** Something failed. */
  error: 1,
  /** What was asked is wrong: the command line, a file, or what the daemon finds invalid. */
  usage: 2,
  /** The pod, container or image is not there. */
  notFound: 3,
  /** The daemon cannot be reached. */
  unreachable: 4,
  /** `run` and `exec`: Keelson failed; other codes are those of the command. */
  ownFailure: 125,
  /** Ended by SIGINT or SIGTERM. */
  interrupted: 130,
} as const;

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
  const message = messageOf(error).replace(/\s*\n\s*/g, '; ');
  return `keelson: ${message.charAt(0).toLowerCase()}${message.slice(1)}\n`;
}
