import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { runCli, type Surroundings } from '../../src/cli/index.ts';
import { ImageServiceService, RuntimeServiceService } from '../../src/gen/runtime/v1/api.ts';

type Services = typeof RuntimeServiceService & typeof ImageServiceService;

interface Unary<Request, Response> {
  responseStream: false;
  requestDeserialize: (bytes: Buffer) => Request;
  responseDeserialize: (bytes: Buffer) => Response;
}

/** Answers of a fake daemon: what is left out answers UNIMPLEMENTED. */
export type Answers = {
  [Name in keyof Services]?: Services[Name] extends Unary<infer Request, infer Response>
    ? (request: Request) => Response | Promise<Response>
    : never;
};

/** A daemon that answers as told, for what a real one does not do on demand. */
export class FakeCri implements AsyncDisposable {
  /** What was called, such as `stopContainer`. */
  readonly calls: string[] = [];
  readonly directory: string;
  readonly #server: Server;

  private constructor(directory: string, server: Server) {
    this.directory = directory;
    this.#server = server;
  }

  static async start(answers: Answers): Promise<FakeCri> {
    const directory = await mkdtemp(join(tmpdir(), 'keelson-cli-'));
    const server = new Server();
    const fake = new FakeCri(directory, server);
    for (const service of [RuntimeServiceService, ImageServiceService]) {
      server.addService(service as unknown as ServiceDefinition, fake.#implement(service, answers));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.bindAsync(fake.uri, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
    await promise;
    return fake;
  }

  get uri(): string {
    return `unix://${this.directory}/cri.sock`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
    await rm(this.directory, { recursive: true });
  }

  #implement(service: object, answers: Answers): UntypedServiceImplementation {
    const known = Object.keys(service).filter((method) => method in answers);
    return Object.fromEntries(
      known.map((method) => {
        const answer = answers[method as keyof Answers] as unknown as (request: unknown) => unknown;
        const handler: handleUnaryCall<unknown, unknown> = async (call, callback) => {
          this.calls.push(method);
          try {
            callback(null, await answer(call.request));
          } catch (error) {
            callback(error as ServiceError, null);
          }
        };
        return [method, handler];
      }),
    );
  }
}

/** An error that a daemon answers. */
export function grpcError(code: keyof typeof status, details: string): Error {
  return Object.assign(new Error(details), { code: status[code], details });
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions extends Partial<Surroundings> {
  /** What is typed on stdin. */
  readonly input?: string;
}

/** A stream that keeps what is written to it. */
export class Kept extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

/** Runs one command line in this process. */
export async function keelson(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  const [stdout, stderr] = [new Kept(), new Kept()];
  const stdin = new PassThrough();
  stdin.end(options.input ?? '');
  const code = await runCli(args, {
    version: '1.2.3',
    env: {},
    stdin,
    stdout,
    stderr,
    signal: new AbortController().signal,
    serve: () => Promise.reject(new Error('not in this test')),
    ...options,
  });
  return { code, stdout: stdout.text, stderr: stderr.text };
}
