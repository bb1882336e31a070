import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { during, ifExists, KeelsonError } from '../../base/index.ts';
import {
  PluginInfo,
  RegistrationService,
  RegistrationStatusResponse,
} from '../../gen/pluginregistration/v1/api.ts';

/** The version of the CSI service, not that of the specification: node-driver-registrar says it, too. */
const CSI_VERSION = '1.0.0';

export interface RegistrarOptions {
  /** Name of the driver. */
  driver: string;
  /** Path of the driver's own socket, as whoever registers it sees it. */
  endpoint: string;
  /** The directory that a kubelet, or Keelson, watches. */
  directory: string;
  /** Told how registering went; `error` is empty if it went well. */
  registered?(ok: boolean, error: string): void;
}

/**
 * Makes a driver known to a kubelet: serves `<directory>/<driver>-reg.sock` until it is
 * disposed, as node-driver-registrar does beside drivers that cannot do it themselves.
 */
export class Registrar implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  static async open(options: RegistrarOptions): Promise<Registrar> {
    const path = join(options.directory, `${options.driver}-reg.sock`);
    const action = `Cannot offer driver "${options.driver}" at "${path}"`;
    await mkdir(options.directory, { recursive: true, mode: 0o750 });
    const there = await ifExists(lstat(path));
    if (there !== undefined && !there.isSocket()) {
      throw new KeelsonError('FAILED_PRECONDITION', action, { reason: 'it is no socket' });
    }
    // One of a driver that was killed: nobody answers there any more.
    await rm(path, { force: true });
    const server = new Server();
    server.addService(RegistrationService, {
      getInfo: (_call: unknown, answer: (error: null, info: PluginInfo) => void) =>
        answer(null, infoOf(options)),
      notifyRegistrationStatus: (
        { request }: { request: { pluginRegistered: boolean; error: string } },
        answer: (error: null, response: RegistrationStatusResponse) => void,
      ) => {
        options.registered?.(request.pluginRegistered, request.error);
        answer(null, RegistrationStatusResponse.fromPartial({}));
      },
    });
    const registrar = new Registrar(path, server);
    try {
      await listen(server, path);
      await chmod(path, 0o700);
      return registrar;
    } catch (error) {
      await registrar[Symbol.asyncDispose]();
      throw during(action, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { force: true });
    this.#server.forceShutdown();
  }
}

function infoOf({ driver, endpoint }: RegistrarOptions): PluginInfo {
  const plugin = { type: 'CSIPlugin', name: driver, supportedVersions: [CSI_VERSION] };
  return PluginInfo.fromPartial({ ...plugin, endpoint });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
