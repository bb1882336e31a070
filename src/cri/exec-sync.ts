import type { ExecSyncRequest, ExecSyncResponse } from '../gen/runtime/v1/api.ts';
import { execSync } from '../pods/index.ts';
import type { UnaryHandler } from './context.ts';
import { invalid, noNul, required, toNumber } from './invalid.ts';

export const execSyncRpc: UnaryHandler<ExecSyncRequest, ExecSyncResponse> = async (
  { pods },
  request,
  { signal },
) => {
  const containerId = required('container_id', request.containerId);
  const timeout = toNumber('timeout', request.timeout);
  if (timeout < 0) throw invalid('timeout', `${timeout} is negative`);
  if (request.cmd.length === 0 || request.cmd[0] === '') throw invalid('cmd', 'it is empty');
  const command = request.cmd.map((word) => noNul('cmd', word));
  return execSync(pods, { containerId, command, timeout }, signal);
};
