import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import { codeOf, messageOf } from '../../../src/base/index.ts';
import * as messages from '../../../src/gen/csi/v1/csi.ts';
import {
  ControllerServiceCapability_RPC_Type as Controller,
  ControllerService,
  IdentityService,
  NodeServiceCapability_RPC_Type as Node,
  NodeService,
  PluginCapability_Service_Type as Plugin,
} from '../../../src/gen/csi/v1/csi.ts';
import { waitFor } from '../wait-for.ts';
import type { Fault, ScriptedCall } from './faults.ts';
import { ScriptedVolumes } from './volumes.ts';

/** What the driver says of itself; tests may change all of it at any time. */
export interface DriverClaims {
  name: string;
  nodeId: string;
  maxVolumesPerNode: bigint;
  topology: Record<string, string>;
  plugin: (keyof typeof Plugin)[];
  controller: (keyof typeof Controller)[];
  node: (keyof typeof Node)[];
  ready: boolean | undefined;
}

interface Script {
  fault: Fault;
  times: number;
}

/**
 * A CSI driver in this process that fails when a test says so. Without a script it works:
 * volumes are directories that it bind-mounts. `calls` are all calls that came, in order.
 *
 *     await using driver = await ScriptedDriver.start();
 *     driver.script('CreateVolume', workThenHang);      // the next one only
 *     driver.script('NodeStageVolume', failWith('ABORTED', 'busy'), Infinity);
 */
export class ScriptedDriver implements AsyncDisposable {
  readonly directory: string;
  readonly path: string;
  readonly volumes: ScriptedVolumes;
  readonly calls: { readonly rpc: string; readonly request: object }[] = [];
  readonly claims: DriverClaims = {
    name: 'scripted.keelson.test',
    nodeId: 'scripted-node',
    maxVolumesPerNode: 0n,
    topology: {},
    plugin: ['CONTROLLER_SERVICE'],
    controller: [
      ...(['CREATE_DELETE_VOLUME', 'PUBLISH_UNPUBLISH_VOLUME', 'LIST_VOLUMES'] as const),
      ...(['GET_CAPACITY', 'CREATE_DELETE_SNAPSHOT', 'LIST_SNAPSHOTS', 'CLONE_VOLUME'] as const),
      ...(['EXPAND_VOLUME', 'LIST_VOLUMES_PUBLISHED_NODES', 'GET_VOLUME'] as const),
    ],
    node: ['STAGE_UNSTAGE_VOLUME', 'GET_VOLUME_STATS', 'EXPAND_VOLUME'],
    ready: undefined,
  };
  readonly #scripts = new Map<string, Script[]>();
  /** Calls that are being worked on, also when nobody waits for them any more. */
  readonly #working = new Set<Promise<void>>();
  #server: Server | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.path = join(directory, 'csi.sock');
    this.volumes = new ScriptedVolumes(directory);
  }

  static async start(claims: Partial<DriverClaims> = {}): Promise<ScriptedDriver> {
    const driver = new ScriptedDriver(await mkdtemp(join(tmpdir(), 'keelson-csi-')));
    Object.assign(driver.claims, claims);
    await driver.listen();
    return driver;
  }

  get endpoint(): string {
    return `unix://${this.path}`;
  }

  /** The next `times` calls meet the fault; more scripts of the same call follow one another. */
  script(rpc: string, fault: Fault, times = 1): void {
    const scripts = this.#scripts.get(rpc) ?? [];
    this.#scripts.set(rpc, [...scripts, { fault, times }]);
  }

  /** All calls work again. */
  mend(): void {
    this.#scripts.clear();
  }

  count(rpc: string): number {
    return this.calls.filter((call) => call.rpc === rpc).length;
  }

  async called(rpc: string, times = 1): Promise<void> {
    await waitFor(`call ${times} of ${rpc}`, () => this.count(rpc) >= times);
  }

  /** Breaks all connections and takes the socket away; mounts and volumes stay. */
  vanish(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  /** Listens, again if it vanished. */
  async listen(): Promise<void> {
    this.vanish();
    await rm(this.path, { force: true });
    const server = new Server();
    for (const service of [IdentityService, ControllerService, NodeService]) {
      const [definition, handlers] = this.#serve(service as ServiceDefinition);
      server.addService(definition, handlers);
    }
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${this.path}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
    this.#server = server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.vanish();
    // What is done late must not be done in a directory that is gone.
    const patience = new Promise((resolve) => setTimeout(resolve, 2000).unref());
    await Promise.race([Promise.allSettled(this.#working), patience]);
    this.volumes.unmountAll();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Each call may stream its answers, so that a script may send none, or too many. */
  #serve(service: ServiceDefinition) {
    const definition: Record<string, ServiceDefinition[string]> = {};
    const handlers: Record<string, (stream: ServerWritableStream<object, object>) => void> = {};
    for (const [name, method] of Object.entries(service)) {
      const rpc = name.charAt(0).toUpperCase() + name.slice(1);
      const response = responseOf(rpc);
      definition[name] = {
        ...method,
        responseStream: true,
        responseSerialize: (value: object) =>
          value instanceof Uint8Array
            ? Buffer.from(value)
            : method.responseSerialize(response(value)),
      };
      handlers[name] = (stream) => {
        const work = this.#answer(rpc, stream).finally(() => this.#working.delete(work));
        this.#working.add(work);
      };
    }
    return [definition, handlers] as const;
  }

  async #answer(rpc: string, stream: ServerWritableStream<object, object>): Promise<void> {
    this.calls.push({ rpc, request: stream.request });
    const { promise: givenUp, resolve } = Promise.withResolvers<void>();
    stream.on('cancelled', () => resolve());
    stream.on('error', () => {});
    const fail: ScriptedCall['fail'] = (code, details) =>
      void stream.emit('error', { code: status[code], details });
    const call: ScriptedCall = {
      ...{ rpc, request: stream.request, givenUp, fail },
      work: async () => this.#work(rpc, stream.request),
      send: (response) => void stream.write(response),
      sendBytes: (bytes) => void stream.write(bytes),
      end: () => stream.end(),
      crash: () => this.vanish(),
    };
    try {
      await this.#faultOf(rpc)(call);
    } catch (error) {
      fail(codeOf(error), messageOf(error));
    }
  }

  #faultOf(rpc: string): Fault {
    const scripts = this.#scripts.get(rpc) ?? [];
    const script = scripts[0];
    if (script === undefined) return answer;
    script.times--;
    if (script.times <= 0) scripts.shift();
    return script.fault;
  }

  async #work(rpc: string, request: object): Promise<object> {
    const claim = this.#claim(rpc);
    return claim ?? (await this.volumes.work[rpc]?.(request as Record<string, unknown>)) ?? {};
  }

  #claim(rpc: string): object | undefined {
    const { name, nodeId, maxVolumesPerNode, topology, plugin, controller, node, ready } =
      this.claims;
    const rpcs = (types: number[]) => ({
      capabilities: types.map((type) => ({ type: { $case: 'rpc', value: { type } } })),
    });
    switch (rpc) {
      case 'GetPluginInfo':
        return { name, vendorVersion: '1.0.0-scripted' };
      case 'GetPluginCapabilities':
        return {
          capabilities: plugin.map((type) => ({
            type: { $case: 'service', value: { type: Plugin[type] } },
          })),
        };
      case 'Probe':
        return { ready };
      case 'ControllerGetCapabilities':
        return rpcs(controller.map((type) => Controller[type]));
      case 'NodeGetCapabilities':
        return rpcs(node.map((type) => Node[type]));
      case 'NodeGetInfo':
        return { nodeId, maxVolumesPerNode, accessibleTopology: { segments: topology } };
      default:
        return undefined;
    }
  }
}

const answer: Fault = async (call) => {
  call.send(await call.work());
  call.end();
};

/** Completes a partial answer to the message of a call. */
function responseOf(rpc: string): (value: object) => object {
  const message = (messages as Record<string, unknown>)[`${rpc}Response`];
  return (value) => (message as { fromPartial(partial: object): object }).fromPartial(value);
}
