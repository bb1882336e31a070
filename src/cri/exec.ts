import type { ExecRequest, ExecResponse } from '../gen/runtime/v1/api.ts';
import { runningContainer } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { noNul, required } from './invalid.ts';

/** Answers a URL where the command is run when a client connects. */
export const exec: UnaryHandler<ExecRequest, ExecResponse> = ({ pods, streaming }, request) => {
  const { tty, stdin, stdout, stderr } = request;
  const containerId = required('container_id', request.containerId);
  const url = streaming.execUrl({
    containerId: runningContainer(pods, containerId, 'run a command in').id,
    command: request.cmd.map((word) => noNul('cmd', word)),
    ...{ tty, stdin, stdout, stderr },
  });
  return { url };
};
