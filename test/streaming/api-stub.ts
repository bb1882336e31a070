import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { AttachRequest, ExecRequest, PortForwardRequest } from '../../src/streaming/index.ts';

/** Who has the URLs of sessions: a streaming server, or a daemon that is asked by CRI. */
export interface SessionUrls {
  execUrl(request: ExecRequest): string | Promise<string>;
  attachUrl(request: AttachRequest): string | Promise<string>;
  portForwardUrl(request: PortForwardRequest): string | Promise<string>;
}

const NAME = 'web';

/**
 * As much of a Kubernetes API server as kubectl needs to exec into, attach to and forward
 * ports of one pod. As kubelets do, it gets a URL of the streaming server for each request
 * and passes the upgraded connection through without looking into it.
 */
export class ApiStub implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #streaming: SessionUrls;
  readonly #tty: boolean;
  readonly #sockets = new Set<Duplex>();

  private constructor(server: Server, streaming: SessionUrls, tty: boolean) {
    this.#server = server;
    this.#streaming = streaming;
    this.#tty = tty;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => this.#answer(request, response));
    server.on('upgrade', (request, socket, head) => void this.#proxy(request, socket, head));
  }

  static async open(streaming: SessionUrls, options: { tty?: boolean } = {}): Promise<ApiStub> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ApiStub(server, streaming, options.tty ?? false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(request.url ?? '/', this.url);
    const body = this.#documents()[pathname];
    const missing = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404 };
    response.writeHead(body === undefined ? 404 : 200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(body ?? { ...missing, message: `no ${pathname}` }));
  }

  #documents(): Record<string, object> {
    const container = { name: 'main', image: 'busybox', stdin: true, tty: this.#tty };
    return {
      '/api': { kind: 'APIVersions', versions: ['v1'] },
      '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
      '/api/v1': {
        kind: 'APIResourceList',
        groupVersion: 'v1',
        resources: [
          { name: 'pods', singularName: 'pod', namespaced: true, kind: 'Pod', verbs: ['get'] },
        ],
      },
      [`/api/v1/namespaces/default/pods/${NAME}`]: {
        kind: 'Pod',
        apiVersion: 'v1',
        metadata: { name: NAME, namespace: 'default' },
        spec: { containers: [container] },
        status: { phase: 'Running' },
      },
    };
  }

  async #proxy(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    let target: URL;
    try {
      target = new URL(await this.#streamingUrl(request));
    } catch (error) {
      client.end(`HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\r\n${error}`);
      return;
    }
    const runtime = connect({
      port: Number(target.port),
      host: target.hostname,
      allowHalfOpen: true,
    });
    const lines = [`${request.method} ${target.pathname} HTTP/1.1`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      lines.push(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}`);
    }
    runtime.write(`${lines.join('\r\n')}\r\n\r\n`);
    runtime.write(head);
    for (const socket of [client, runtime]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => {
        this.#sockets.delete(socket);
        client.destroy();
        runtime.destroy();
      });
    }
    client.pipe(runtime).pipe(client);
  }

  #streamingUrl(request: IncomingMessage): string | Promise<string> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    const streams = {
      tty: searchParams.get('tty') === 'true',
      stdin: searchParams.get('stdin') === 'true',
      stdout: searchParams.get('stdout') === 'true',
      stderr: searchParams.get('stderr') === 'true',
    };
    const containerId = NAME;
    switch (pathname.split('/').at(-1)) {
      case 'exec': {
        const command = searchParams.getAll('command');
        return this.#streaming.execUrl({ containerId, command, ...streams });
      }
      case 'attach':
        return this.#streaming.attachUrl({ containerId, ...streams });
      default:
        return this.#streaming.portForwardUrl({ sandboxId: NAME, ports: [] });
    }
  }
}
