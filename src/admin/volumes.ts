import { KeelsonError } from '../base/index.ts';
import {
  type CsiHost,
  driverReports,
  isWritable,
  KINDS,
  type Kind,
  parseManifests,
  publishForPod,
  type Ref,
  reportObject,
  type Stored,
} from '../csi/index.ts';
import { answerJson } from './answers.ts';
import type { Endpoint, Exchange } from './exchange.ts';

/** Bytes of a body: more than any file of manifests that is taken. */
const LARGEST = 8 * 1024 * 1024;

/** What can be asked of volumes. Without `csi` each answers that there are none. */
export function volumeEndpoints(csi: CsiHost | undefined): Endpoint[] {
  const on = (
    method: Endpoint['method'],
    path: string,
    handle: (host: CsiHost, exchange: Exchange) => Promise<unknown>,
  ): Endpoint => ({
    ...{ method, path, socketOnly: true },
    handle: async (exchange) => answerJson(exchange.response, await handle(enabled(csi), exchange)),
  });
  return [
    on('GET', '/csi/drivers', async (host) => driverReports(host)),
    on('GET', '/volumes', async (host) => listAll(host)),
    on('GET', '/volumes/object', (host, { query, signal }) =>
      reportObject(host, refFrom(query), signal),
    ),
    on('POST', '/volumes/apply', apply),
    on('POST', '/volumes/delete', remove),
    on('POST', '/volumes/publish', async (host, exchange) =>
      publishForPod(host, await jsonBody(exchange), exchange.signal),
    ),
    on('POST', '/volumes/release', release),
  ];
}

function enabled(csi: CsiHost | undefined): CsiHost {
  if (csi !== undefined) return csi;
  throw new KeelsonError('UNIMPLEMENTED', 'Cannot serve volumes', {
    reason: 'they are switched off',
    hint: 'set csi.enabled',
  });
}

function listAll({ store }: CsiHost): { objects: Stored[]; unreadable: readonly object[] } {
  const objects = KINDS.flatMap((kind) => store.list(kind) as Stored[]);
  return { objects, unreadable: store.unreadable };
}

/** All objects of the body are checked before the first is stored. */
async function apply(host: CsiHost, exchange: Exchange): Promise<object[]> {
  const manifests = parseManifests(await body(exchange));
  const answers: object[] = [];
  for (const manifest of manifests) {
    const { kind, metadata } = manifest;
    const { result } = await host.store.apply(manifest);
    const namespace = 'namespace' in metadata ? metadata.namespace : undefined;
    answers.push({ kind, name: metadata.name, namespace, result });
  }
  host.retry();
  return answers;
}

async function remove({ store }: CsiHost, { query }: Exchange): Promise<{ gone: boolean }> {
  const ref = refFrom(query);
  store.get(ref);
  await store.delete(ref);
  return { gone: store.find(ref) === undefined };
}

async function release({ volumes }: CsiHost, { query }: Exchange): Promise<object> {
  const uid = query.get('pod') ?? '';
  await volumes.release(uid);
  return { releasing: volumes.ofPod(uid).length };
}

function refFrom(query: URLSearchParams): Ref {
  const wanted = query.get('kind');
  const kind = KINDS.find((each): each is Kind => each === wanted && isWritable(each));
  const name = query.get('name');
  if (kind === undefined || name === null) {
    throw new KeelsonError('INVALID_ARGUMENT', `Cannot find ${wanted ?? 'an object'}`, {
      reason: 'kind and name must be given',
      hint: `kinds are ${KINDS.filter(isWritable).join(', ')}`,
    });
  }
  const namespace = query.get('namespace');
  return { kind, name, ...(namespace === null ? {} : { namespace }) };
}

async function jsonBody(exchange: Exchange): Promise<unknown> {
  const text = await body(exchange);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KeelsonError('INVALID_ARGUMENT', 'Cannot read the request', { cause });
  }
}

async function body({ request }: Exchange): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request.iterator({ destroyOnReturn: false })) {
    size += (piece as Buffer).length;
    if (size > LARGEST) {
      throw new KeelsonError('INVALID_ARGUMENT', 'Cannot read the request', {
        reason: `it has more than ${LARGEST} bytes`,
      });
    }
    pieces.push(piece as Buffer);
  }
  return Buffer.concat(pieces).toString('utf8');
}
