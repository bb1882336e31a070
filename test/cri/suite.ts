import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll } from 'vitest';
import {
  type ContainerConfig,
  ContainerState,
  type ContainerStatus,
  type DeepPartial,
} from '../../src/gen/runtime/v1/api.ts';
import { busyboxImage, type FixtureImage, pushImage } from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import {
  containerConfig,
  type Daemon,
  type DaemonOptions,
  logLines,
  type Pod,
  runContainer,
  startDaemon,
  waitFor,
} from '../harness/index.ts';

/** What the tests of one file share. */
export interface Suite {
  readonly daemon: Daemon;
  readonly registry: RegistryFixture;
  /** A reference to busybox, which is pulled. */
  readonly image: string;
  /** Pushes an image as `NAME:1`, pulls it and answers its reference. */
  add(name: string, image: FixtureImage): Promise<string>;
}

/** One registry and one daemon for all tests of the file that calls this at its top. */
export function criSuite(options: DaemonOptions = {}): Suite {
  let registry: RegistryFixture | undefined;
  let daemon: Daemon | undefined;
  const suite: Suite = {
    get daemon() {
      return daemon!;
    },
    get registry() {
      return registry!;
    },
    get image() {
      return `${registry!.host}/busybox:1`;
    },
    async add(name, image) {
      await pushImage({ url: registry!.url, repository: name }, '1', image);
      const reference = `${registry!.host}/${name}:1`;
      await daemon!.images.pullImage({ image: { image: reference } });
      return reference;
    },
  };
  beforeAll(async () => {
    registry = await startRegistry();
    daemon = await startDaemon(options);
    await suite.add('busybox', busyboxImage());
  });
  afterAll(async () => {
    await registry?.stop();
    const crash = daemon?.running === false ? daemon.log : undefined;
    await daemon?.[Symbol.asyncDispose]();
    if (crash !== undefined) throw new Error(`The daemon ended by itself:\n${crash}`);
  });
  return suite;
}

/** The name of the gRPC code that a call ends with. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'OK';
  } catch (error) {
    const { code } = error as { code?: number };
    if (code === undefined) throw error;
    return status[code] ?? String(code);
  }
}

/** A container that runs a line of shell. */
export function shell(script: string): DeepPartial<ContainerConfig> {
  return { command: ['/bin/sh', '-c', script] };
}

export async function statusOf(daemon: Daemon, containerId: string): Promise<ContainerStatus> {
  return (await daemon.runtime.containerStatus({ containerId })).status!;
}

/** Waits until a container has ended, and answers its status. */
export function ended(daemon: Daemon, containerId: string): Promise<ContainerStatus> {
  return waitFor(`the end of container ${containerId}`, async () => {
    const state = await statusOf(daemon, containerId);
    return state.state === ContainerState.CONTAINER_EXITED && state;
  });
}

/** Runs a container to its end. Answers its status and the lines that it wrote. */
export async function runToEnd(
  daemon: Daemon,
  pod: Pod,
  image: string,
  changes: DeepPartial<ContainerConfig>,
): Promise<{ status: ContainerStatus; lines: string[] }> {
  const config = containerConfig(image, changes);
  const id = await runContainer(daemon, pod, config);
  return { status: await ended(daemon, id), lines: await logLines(pod, config) };
}

/** Runs a line of shell in a container and answers its output without the last line break. */
export async function execIn(daemon: Daemon, containerId: string, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await daemon.runtime.execSync({
    containerId,
    cmd: ['/bin/sh', '-c', script],
  });
  if (exitCode !== 0) throw new Error(`"${script}" ended with ${exitCode}: ${stderr.toString()}`);
  return stdout.toString().replace(/\n$/, '');
}
