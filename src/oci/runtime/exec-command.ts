/** Files by which a runtime and its caller speak of one exec. */
export interface ExecFiles {
  process: string;
  /** Of gVisor, that of the runtime's own process. */
  pid: string;
  /** gVisor only: the pid in the sandbox. */
  innerPid: string;
  log: string;
  console: string | undefined;
}

/**
 * How a command gets its terminal: the runtime hands one over to a socket; or it wants one as
 * its own stdin, stdout and stderr, and relays between that and the command's, or lets the
 * command inherit it. The latter two look at the size again when they get SIGWINCH.
 */
export type TerminalWay = 'handed-over' | 'relayed' | 'inherited';

export interface ExecCommand {
  program: string;
  args: string[];
  terminal: TerminalWay;
  hideHybridCgroups: boolean;
}
