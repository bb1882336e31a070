import type { IncomingMessage } from 'node:http';
import type { Refusal } from './refusal.ts';

export type Transport = 'spdy' | 'websocket';

/** What a client wants: the transport, and protocols in the order it likes them. */
export interface UpgradeOffer {
  transport: Transport;
  protocols: readonly string[];
}

/** Reads what a client offers to upgrade to. */
export function readOffer(request: IncomingMessage): UpgradeOffer | Refusal {
  if (request.method !== 'GET' && request.method !== 'POST') {
    return { status: 405, reason: 'GET or POST expected', headers: [['Allow', 'GET, POST']] };
  }
  const upgrade = listOf(request.headers.upgrade).map((name) => name.toLowerCase());
  if (hasBody(request)) return { status: 400, reason: 'An upgrade request has no body' };
  if (upgrade.includes('websocket')) {
    if (request.method !== 'GET') {
      return { status: 405, reason: 'WebSocket begins with GET', headers: [['Allow', 'GET']] };
    }
    const offered = listOf(request.headers['sec-websocket-protocol']);
    return { transport: 'websocket', protocols: offered.length === 0 ? [''] : offered };
  }
  if (!upgrade.includes('spdy/3.1')) {
    return { status: 400, reason: 'Upgrade to SPDY/3.1 or websocket expected' };
  }
  const protocols = listOf(request.headers['x-stream-protocol-version']);
  if (protocols.length === 0) {
    return { status: 400, reason: 'X-Stream-Protocol-Version expected' };
  }
  return { transport: 'spdy', protocols };
}

/** The first of the client's protocols that is known, or the refusal with those that are. */
export function chooseProtocol(
  offer: UpgradeOffer,
  known: readonly string[],
): { protocol: string } | Refusal {
  const protocol = offer.protocols.find((name) => known.includes(name));
  if (protocol !== undefined) return { protocol };
  const names = known.filter((name) => name !== '');
  return {
    status: 403,
    reason: `None of the protocols is known; known are ${names.join(', ')}`,
    headers: names.map((name) => ['X-Accepted-Stream-Protocol-Versions', name]),
  };
}

export function isRefusal(value: object): value is Refusal {
  return 'status' in value;
}

/** The head of the answer that turns a connection into SPDY. */
export function spdyUpgradeHead(protocol: string): string {
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    `X-Stream-Protocol-Version: ${protocol}`,
    `Date: ${new Date().toUTCString()}`,
    '\r\n',
  ].join('\r\n');
}

function listOf(header: string | string[] | undefined): string[] {
  const joined = Array.isArray(header) ? header.join(',') : (header ?? '');
  return joined
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length'];
  return (
    request.headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
  );
}
