import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';

/** An answer to a client whose request leads to no session. */
export interface Refusal {
  status: number;
  reason: string;
  headers?: readonly (readonly [name: string, value: string])[];
}

/** Answers an ordinary request. */
export function refuse(response: ServerResponse, refusal: Refusal): void {
  const headers = [...common(refusal), ...(refusal.headers ?? [])];
  response.writeHead(refusal.status, headers.flat());
  response.end(refusal.reason);
}

/** Answers a request to upgrade, on the bare connection, and closes it. */
export function refuseUpgrade(socket: Duplex, refusal: Refusal): void {
  const lines = [...common(refusal), ...(refusal.headers ?? [])].map(
    ([name, value]) => `${name}: ${value}`,
  );
  const status = `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status] ?? ''}`;
  socket.once('finish', () => socket.destroy());
  socket.end([status, ...lines, '', refusal.reason].join('\r\n'));
}

function common({ reason }: Refusal): [string, string][] {
  return [
    ['Connection', 'close'],
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['X-Content-Type-Options', 'nosniff'],
    ['Content-Length', String(Buffer.byteLength(reason))],
  ];
}
