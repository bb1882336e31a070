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
  /** `run`, `exec` and `attach`: Keelson failed; other codes are those of the command. */
  ownFailure: 125,
  /** Ended by SIGINT or SIGTERM. */
  interrupted: 130,
} as const;
