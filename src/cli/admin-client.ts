import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { KeelsonError } from '../base/index.ts';
import { RuntimeServiceService } from '../gen/runtime/v1/api.ts';
import type { CriClient } from './cri-client.ts';
import type { LayerProgress, PullProgressSource } from './pull-progress.ts';

/** What the admin server says of one pull. */
interface PullProgress {
  reference: string;
  layers: { digest: string; size: number; downloaded: number }[];
}

/** How far pulls are, as the daemon's admin server tells. */
export function adminPullProgress(cri: CriClient): PullProgressSource {
  return {
    async *watch(reference, signal) {
      const answer = await request(await adminAddress(cri), '/pulls', signal);
      for await (const line of createInterface({ input: answer })) {
        const pulls = JSON.parse(line) as PullProgress[];
        const pull = pulls.find((each) => each.reference === reference);
        if (pull !== undefined) yield pull.layers.map(toLayer);
      }
    },
  };
}

function toLayer({ digest, size, downloaded }: PullProgress['layers'][number]): LayerProgress {
  return { digest, total: size, done: downloaded };
}

/** The daemon names its admin server in its configuration, which verbose Status shows. */
async function adminAddress(cri: CriClient): Promise<string> {
  const { info } = await cri.call(
    RuntimeServiceService.status,
    { verbose: true },
    { action: 'Cannot find the admin server' },
  );
  const config = JSON.parse(info['config'] ?? '{}') as { admin?: { address?: string } };
  const address = config.admin?.address;
  if (address !== undefined) return address;
  throw new KeelsonError('NOT_FOUND', 'The daemon has no admin server');
}

async function request(
  address: string,
  path: string,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const where = address.startsWith('unix://')
    ? { socketPath: address.slice('unix://'.length) }
    : { host: new URL(address).hostname, port: new URL(address).port };
  const [response] = (await once(get({ ...where, path, signal }), 'response')) as [IncomingMessage];
  return response;
}
