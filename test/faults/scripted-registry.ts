import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buildImage, buildLayer, type FixtureImage, type FixtureLayer } from '../fixtures/image.ts';

/** What was asked for. */
export interface Asked {
  /** `manifests`, `blobs`, or nothing of an image. */
  kind: string;
  /** The layer that is asked for, and in what image. */
  layer: FixtureLayer | undefined;
  image: FixtureImage;
}

/** Answers a request in its own way, or answers false: the image is served as it should be. */
export type Fault = (asked: Asked, response: ServerResponse) => boolean;

/** An image that shares nothing with others: what one pull brought would serve the next. */
function uniqueImage(): FixtureImage {
  return buildImage({ layers: [buildLayer([{ path: 'data', content: randomBytes(50_000) }])] });
}

/** A registry on loopback with an image in each repository, and a fault for some of them. */
export class ScriptedRegistry implements AsyncDisposable {
  readonly #faults = new Map<string, Fault>();
  readonly #server = createServer((request, response) => this.#answer(request, response));
  readonly #images = new Map<string, FixtureImage>();

  private constructor() {}

  static async start(): Promise<ScriptedRegistry> {
    const registry = new ScriptedRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The image of a repository: one of its own unless another is put there. */
  image(repository: string): FixtureImage {
    const image = this.#images.get(repository) ?? uniqueImage();
    this.#images.set(repository, image);
    return image;
  }

  put(repository: string, image: FixtureImage): string {
    this.#images.set(repository, image);
    return `${this.host}/${repository}:1`;
  }

  break(repository: string, fault: Fault): string {
    this.#faults.set(repository, fault);
    return `${this.host}/${repository}:1`;
  }

  mend(repository: string): void {
    this.#faults.delete(repository);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = new URL(request.url ?? '/', 'http://registry').pathname;
    const [, repository = '', kind = '', name = ''] =
      /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(path) ?? [];
    const image = this.image(repository);
    const { manifest, descriptor, config, configDescriptor, layers } = image;
    const layer = layers.find((each) => each.descriptor.digest === name);
    if (this.#faults.get(repository)?.({ kind, layer, image }, response)) return;
    if (kind === 'manifests') {
      response.setHeader('content-type', descriptor.mediaType);
      response.setHeader('docker-content-digest', descriptor.digest);
      response.end(manifest);
      return;
    }
    const blob = name === configDescriptor.digest ? config : layer?.blob;
    response.statusCode = blob === undefined && path !== '/v2/' ? 404 : 200;
    response.setHeader('content-length', blob?.length ?? 0);
    response.end(blob);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** The same answer to every request. */
export function always(status: number, headers: Record<string, string> = {}, body = ''): Fault {
  return (_, response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };
}
