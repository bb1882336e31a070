import { KeelsonError } from '../base/index.ts';
import type { AttachRequest, CommandStreams, ExecRequest, PortForwardRequest } from './backend.ts';

/** What a URL stands for. */
export type StreamingRequest =
  | { kind: 'exec'; request: ExecRequest }
  | { kind: 'attach'; request: AttachRequest }
  | { kind: 'portforward'; request: PortForwardRequest };

/** Throws INVALID_ARGUMENT if the request makes no sense. */
export function validateExec(request: ExecRequest): void {
  validateStreams('exec', request.containerId, request);
  if (request.command.length === 0) throw invalid('exec', 'the command is empty');
}

/** Throws INVALID_ARGUMENT if the request makes no sense. */
export function validateAttach(request: AttachRequest): void {
  validateStreams('attach', request.containerId, request);
}

/** Throws INVALID_ARGUMENT if the request makes no sense. */
export function validatePortForward({ sandboxId, ports }: PortForwardRequest): void {
  if (sandboxId === '') throw invalid('forward ports', 'the pod sandbox id is empty');
  const wrong = ports.find((port) => !Number.isInteger(port) || port < 1 || port > 65535);
  if (wrong !== undefined) throw invalid('forward ports', `port ${wrong} is out of 1..65535`);
}

function validateStreams(action: string, containerId: string, streams: CommandStreams): void {
  if (containerId === '') throw invalid(action, 'the container id is empty');
  if (!streams.stdin && !streams.stdout && !streams.stderr) {
    throw invalid(action, 'none of stdin, stdout and stderr is wanted');
  }
  if (streams.tty && streams.stderr) {
    throw invalid(action, 'a terminal has no stderr of its own', 'ask for tty or stderr');
  }
}

function invalid(action: string, reason: string, hint?: string): KeelsonError {
  return new KeelsonError('INVALID_ARGUMENT', `Cannot ${action}`, {
    reason,
    ...(hint === undefined ? {} : { hint }),
  });
}
