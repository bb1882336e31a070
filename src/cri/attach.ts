import type { AttachRequest, AttachResponse } from '../gen/runtime/v1/api.ts';
import { runningContainer } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { invalid, required } from './invalid.ts';

/** Answers a URL where the container's own streams are joined when a client connects. */
export const attach: UnaryHandler<AttachRequest, AttachResponse> = (
  { pods, streaming },
  request,
) => {
  const { tty, stdin, stdout, stderr } = request;
  const id = required('container_id', request.containerId);
  const container = runningContainer(pods, id, 'attach to');
  if (tty !== container.config.tty) {
    throw invalid('tty', `the container has ${container.config.tty ? 'a' : 'no'} terminal`);
  }
  if (stdin && !container.config.stdin) throw invalid('stdin', 'the container has no stdin');
  const url = streaming.attachUrl({ containerId: container.id, tty, stdin, stdout, stderr });
  return { url };
};
