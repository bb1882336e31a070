import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Command } from 'commander';
import { KeelsonError } from '../../base/index.ts';
import type { Context } from '../context.ts';
import { usageError } from '../failures.ts';
import { repeated } from '../filters.ts';
import { print } from '../output.ts';
import { podStatus } from '../status.ts';

interface Options {
  address?: string[];
}

interface Ports {
  /** 0 for any free one. */
  readonly local: number;
  readonly remote: number;
}

/** `keelson port-forward`: ports of this host that lead to ports of a pod's loopback interface. */
export function configure(command: Command, context: Context): void {
  command
    .argument('<pod>', 'its id, or the beginning of it')
    .argument('<ports...>', '[LOCAL:]REMOTE; an empty LOCAL takes any free port')
    .option('--address <ip>', 'listen there (may be repeated; default: 127.0.0.1)', repeated)
    .action(async (podId: string, words: string[], { address = ['127.0.0.1'] }: Options) => {
      const ports = words.map(portsOf);
      // Told now, not with the first connection.
      await podStatus(await context.cri(), podId);
      await using stack = new AsyncDisposableStack();
      for (const host of address) {
        for (const { local, remote } of ports) {
          const server = stack.adopt(await listen(host, local), (each) => void each.close());
          await serve(context, server, { podId, remote });
          const { port } = server.address() as AddressInfo;
          const authority = host.includes(':') ? `[${host}]` : host;
          await print(context.stdout, `Forwarding from ${authority}:${port} -> ${remote}\n`);
        }
      }
      await aborted(context.signal);
    });
}

async function serve(
  context: Context,
  server: Server,
  target: { podId: string; remote: number },
): Promise<void> {
  const cri = await context.cri();
  const { forwardConnection } = await import('../streaming/forward-connection.ts');
  const { errorLine } = await import('../failures.ts');
  server.on('connection', (socket) => {
    forwardConnection(cri, { ...target, socket }, context.signal).catch((error) => {
      if (!context.signal.aborted) context.stderr.write(errorLine(error));
    });
  });
}

async function listen(host: string, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const listening = once(server, 'listening');
  server.listen(port, host);
  try {
    await listening;
    return server;
  } catch (cause) {
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot listen on ${host} port ${port}`, {
      cause,
    });
  }
}

/** `8080:80`, `80` for the same on both sides, `:80` for any free port here. */
function portsOf(text: string): Ports {
  const [, local, colon, remote] = /^(?:(\d*)(:))?(\d+)$/.exec(text) ?? [];
  const ports = {
    local: Number(colon === undefined ? remote : local || 0),
    remote: Number(remote ?? 0),
  };
  if (ports.remote >= 1 && ports.remote <= 65535 && ports.local <= 65535) return ports;
  throw usageError(`"${text}" is no port: write [LOCAL:]REMOTE, such as 8080:80`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
