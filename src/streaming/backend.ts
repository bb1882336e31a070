import type { Duplex, Readable, Writable } from 'node:stream';

/** Which of a command's streams the client has. `tty` and `stderr` exclude each other. */
export interface CommandStreams {
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

export interface ExecRequest extends CommandStreams {
  containerId: string;
  /** The program and its arguments. */
  command: readonly string[];
}

export interface AttachRequest extends CommandStreams {
  containerId: string;
}

export interface PortForwardRequest {
  sandboxId: string;
  /** The ports that may be forwarded. Empty: any, as the client asks when connected. */
  ports: readonly number[];
}

export interface TerminalSize {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
}

/**
 * The client's end of a command's streams; those that were not asked for are undefined.
 * All have back-pressure: what the client does not read is not taken, and stdin is not
 * received faster than it is read.
 */
export interface SessionIo {
  /** What the client sends. Ends when the client closes its side; output goes on then. */
  readonly stdin: Readable | undefined;
  /** Ended by the backend or, after the backend has answered, by the session. */
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /**
   * The sizes of the client's terminal. For one consumer; one that is slow sees the newest
   * only. Ends with the session.
   */
  readonly resizes: AsyncIterable<TerminalSize>;
}

export interface ExitStatus {
  /** 0 to 255; 128 and the signal's number for a command that was killed. */
  code: number;
}

/**
 * What stands behind the streaming server.
 *
 * The signal of each call aborts when the client has left, was silent for too long, or the
 * daemon shuts down. The backend then ends what it started for the session (an exec's
 * processes; never the container) and settles. What it throws is told to the client.
 */
export interface StreamingBackend {
  /**
   * Runs a command in a container. Settles when the command has ended and all it wrote has
   * been handed to `io`.
   */
  exec(request: ExecRequest, io: SessionIo, signal: AbortSignal): Promise<ExitStatus>;

  /**
   * Joins the streams of the container's first process. Settles when the container has
   * ended; undefined when its exit code is not known.
   */
  attach(
    request: AttachRequest,
    io: SessionIo,
    signal: AbortSignal,
  ): Promise<ExitStatus | undefined>;

  /**
   * Joins `stream` with a connection to `port` of the sandbox's loopback interface, made
   * inside its network namespace. The end of one direction is passed on and leaves the
   * other open. Settles when both have ended.
   */
  portForward(sandboxId: string, port: number, stream: Duplex, signal: AbortSignal): Promise<void>;
}
