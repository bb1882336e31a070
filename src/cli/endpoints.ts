import { parseDuration } from '../base/index.ts';
import type { CriClientOptions, Endpoint } from './cri-client.ts';
import { usageError } from './failures.ts';

/** Where a daemon listens that was not told otherwise. */
export const DEFAULT_SOCKET = 'unix:///run/keelson/keelson.sock';

const DEFAULT_TIMEOUT = 120_000;

/** The options that stand before the command. */
export interface GlobalOptions {
  socket?: string;
  imageSocket?: string;
  timeout?: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
}

/** Flags win over KEELSON_SOCKET, that over crictl's variables, those over the default. */
export function clientOptions(
  options: GlobalOptions,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): CriClientOptions {
  const runtime =
    options.socket || env['KEELSON_SOCKET'] || env['CONTAINER_RUNTIME_ENDPOINT'] || DEFAULT_SOCKET;
  const ownImage = options.socket || env['KEELSON_SOCKET'];
  const image = options.imageSocket || ownImage || env['IMAGE_SERVICE_ENDPOINT'] || runtime;
  return {
    runtime: endpoint(runtime, options),
    image: endpoint(image, options),
    signal,
    timeout: options.timeout === undefined ? DEFAULT_TIMEOUT : parseTimeout(options.timeout),
  };
}

/** Milliseconds of a duration such as `30s`, or of bare seconds. 0 means no limit. */
export function parseTimeout(text: string): number {
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : parseDuration(text);
  if (milliseconds === undefined) {
    throw usageError(`"${text}" is no duration: write seconds, or such as "90s" or "2m"`);
  }
  return milliseconds === 0 ? Number.POSITIVE_INFINITY : milliseconds;
}

function endpoint(uri: string, options: GlobalOptions): Endpoint {
  const complete = uri.startsWith('/') ? `unix://${uri}` : uri;
  if (!/^(unix:\/\/\/.+|tcp:\/\/.+:\d+)$/.test(complete)) {
    throw usageError(`"${uri}" is no socket: write unix:///PATH or tcp://HOST:PORT`);
  }
  const { tlsCa, tlsCert, tlsKey } = options;
  return {
    uri: complete,
    tls: {
      ...(tlsCa === undefined ? {} : { ca: tlsCa }),
      ...(tlsCert === undefined ? {} : { cert: tlsCert }),
      ...(tlsKey === undefined ? {} : { key: tlsKey }),
    },
  };
}
