import { messageOf } from '../../base/index.ts';
import {
  CNI_ERROR,
  CNI_VERSIONS,
  CniError,
  type CniResult,
  cniErrorOf,
  JsonReader,
  type Plugin,
  type PluginCall,
  type PluginInvoker,
} from '../spec/index.ts';

/** What a plugin does; GC and STATUS only where it has something to do. */
export interface PluginBody {
  add(call: PluginCall, delegates: PluginInvoker): Promise<CniResult>;
  del(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  check(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  gc?(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  status?(call: PluginCall, delegates: PluginInvoker): Promise<void>;
  resume?(): Promise<void>;
}

/** A plugin whose failures are all `CniError`s, but for the reason of an abort. */
export function definePlugin(type: string, body: PluginBody): Plugin {
  return {
    type,
    supportedVersions: CNI_VERSIONS,
    add: (call, delegates) => guarded(call, () => body.add(call, delegates)),
    del: (call, delegates) => guarded(call, () => body.del(call, delegates)),
    check: (call, delegates) => guarded(call, () => body.check(call, delegates)),
    gc: (call, delegates) => guarded(call, async () => body.gc?.(call, delegates)),
    status: (call, delegates) => guarded(call, async () => body.status?.(call, delegates)),
    ...(body.resume === undefined ? {} : { resume: body.resume }),
  };
}

async function guarded<T>(call: PluginCall, work: () => Promise<T>): Promise<T> {
  try {
    call.signal.throwIfAborted();
    return await work();
  } catch (error) {
    if (call.signal.aborted || cniErrorOf(error) !== undefined) throw error;
    const msg = `${call.config.type}: ${call.command} failed`;
    throw new CniError(CNI_ERROR.INTERNAL, msg, { details: messageOf(error), cause: error });
  }
}

/** The plugin's configuration, to be taken apart; what is wrong in it is INVALID_CONFIG. */
export function readConfig(call: PluginCall): JsonReader {
  return new JsonReader(
    call.config,
    `configuration of ${call.config.type}`,
    CNI_ERROR.INVALID_CONFIG,
  );
}

/** `args.cni` of the configuration, if there is one. */
export function staticArgs(config: JsonReader): JsonReader | undefined {
  return config.get('args')?.get('cni');
}

/** The result of the plugins before, which a chained plugin cannot do without. */
export function requirePrevResult(call: PluginCall): CniResult {
  const { prevResult } = call.config;
  if (prevResult === undefined) {
    throw new CniError(CNI_ERROR.INVALID_CONFIG, `Plugin "${call.config.type}" has no prevResult`, {
      details: 'it must be chained behind another plugin',
    });
  }
  return prevResult;
}

export function invalidConfig(message: string): CniError {
  return new CniError(CNI_ERROR.INVALID_CONFIG, message);
}

/** A CHECK that found something else than what ADD made. */
export function checkFailed(message: string): CniError {
  return new CniError(CNI_ERROR.INTERNAL, message);
}
