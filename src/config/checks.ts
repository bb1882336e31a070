import type { Config, TlsConfig } from './config.ts';
import { RUNTIME_TYPES } from './sections/runtimes.ts';

type Origin = (path: readonly string[]) => string;

/** What is wrong with settings that are right one by one. */
export function checkWhole(config: Config, origin: Origin): string[] {
  return [
    ...checkRuntimes(config, origin),
    ...checkMutualTls(config.grpc.tls, origin),
    ...checkTls(config.streaming.tls, ['streaming', 'tls'], origin),
    ...checkListeners(config, origin),
  ];
}

function checkRuntimes(config: Config, origin: Origin): string[] {
  const problems = Object.entries(config.runtimes)
    .filter(([, runtime]) => !RUNTIME_TYPES.includes(runtime.type))
    .map(([name]) => {
      const types = RUNTIME_TYPES.map((type) => `"${type}"`).join(', ');
      const at = origin(['runtimes', name]);
      return `${at}: runtimes.${name}.type: is needed, one of ${types}`;
    });
  if (!Object.hasOwn(config.runtimes, config.defaultRuntime)) {
    const at = origin(['default_runtime']);
    problems.push(`${at}: default_runtime: there is no [runtimes.${config.defaultRuntime}]`);
  }
  return problems;
}

function checkTls(tls: TlsConfig, path: readonly string[], origin: Origin): string[] {
  if ((tls.cert === undefined) === (tls.key === undefined)) {
    if (tls.clientCa === undefined || tls.cert !== undefined) return [];
    return [`${origin([...path, 'client_ca'])}: ${path.join('.')}: client_ca needs cert and key`];
  }
  const given = tls.cert === undefined ? 'key' : 'cert';
  return [`${origin([...path, given])}: ${path.join('.')}: cert and key go together`];
}

/** CRI speaks TLS only where clients show a certificate too. */
function checkMutualTls(tls: TlsConfig, origin: Origin): string[] {
  const given = Object.entries({ cert: tls.cert, key: tls.key, client_ca: tls.clientCa })
    .filter(([, file]) => file !== undefined)
    .map(([key]) => key);
  const [first] = given;
  if (first === undefined || given.length === 3) return [];
  return [`${origin(['grpc', 'tls', first])}: grpc.tls: cert, key and client_ca go together`];
}

function checkListeners(config: Config, origin: Origin): string[] {
  const problems: string[] = [];
  const refuse = (key: string, uri: string, why: string) =>
    problems.push(`${origin(key.split('.'))}: ${key}: "${uri}" ${why}`);
  const mutual = config.grpc.tls.clientCa !== undefined;
  const listeners: [key: string, uri: string][] = config.listen.map((uri) => ['listen', uri]);
  if (config.imageListen !== undefined) listeners.push(['image_listen', config.imageListen]);
  for (const [key, uri] of listeners) {
    if (!isPort(uri)) refuse(key, uri, 'has no port from 0 to 65535');
    else if (!isLocal(uri) && !mutual) {
      refuse(key, uri, 'is not a loopback address: set grpc.tls.cert, key and client_ca');
    }
  }
  const admin = config.admin.address;
  if (!isPort(admin)) refuse('admin.address', admin, 'has no port from 0 to 65535');
  else if (!isLocal(admin)) refuse('admin.address', admin, 'is not a loopback address');
  return problems;
}

function isPort(uri: string): boolean {
  return uri.startsWith('unix:') || Number(uri.slice(uri.lastIndexOf(':') + 1)) <= 65535;
}

/** Whether only this host can connect. */
function isLocal(uri: string): boolean {
  if (uri.startsWith('unix:')) return true;
  const host = uri.slice('tcp://'.length, uri.lastIndexOf(':'));
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
