import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { AttachRequest, DeepPartial, ExecRequest } from '../../src/gen/runtime/v1/api.ts';
import { type Daemon, waitFor } from '../harness/index.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
const CLOSE = 255;

/** What the error channel says in the end. */
export interface Status {
  status?: string;
  message?: string;
  reason?: string;
  details?: { causes?: { reason?: string; message?: string }[] };
}

export interface ClientOptions {
  /** Keep only sizes and hashes of what comes. */
  discard?: boolean;
  protocol?: string;
}

/** A client of the remote command protocol over WebSocket. */
export class CommandClient {
  readonly socket: WebSocket;
  readonly #closed: Promise<unknown[]>;
  readonly #texts = new Map<number, Buffer[]>();
  readonly #hash = createHash('sha256');
  readonly #discard: boolean;
  received = 0;

  constructor(url: string, { discard = false, protocol = 'v5.channel.k8s.io' }: ClientOptions) {
    this.socket = new WebSocket(url.replace('http', 'ws'), protocol, { perMessageDeflate: false });
    this.#discard = discard;
    this.#closed = once(this.socket, 'close');
    this.#closed.catch(() => {});
    this.socket.on('message', (data: Buffer) => this.#take(data));
  }

  /** Runs a command in a container: both outputs unless told otherwise. */
  static async exec(
    daemon: Daemon,
    request: DeepPartial<ExecRequest>,
    options: ClientOptions = {},
  ): Promise<CommandClient> {
    const streams = { stdout: true, stderr: request.tty !== true };
    const { url } = await daemon.runtime.exec({ ...streams, ...request });
    return new CommandClient(url, options).#open();
  }

  static async attach(
    daemon: Daemon,
    request: DeepPartial<AttachRequest>,
    options: ClientOptions = {},
  ): Promise<CommandClient> {
    const streams = { stdout: true, stderr: request.tty !== true };
    const { url } = await daemon.runtime.attach({ ...streams, ...request });
    return new CommandClient(url, options).#open();
  }

  async #open(): Promise<this> {
    await once(this.socket, 'open');
    return this;
  }

  get stdout(): string {
    return this.#text(STDOUT);
  }

  get stderr(): string {
    return this.#text(STDERR);
  }

  /** SHA-256 of all of stdout; to be called once. */
  hash(): string {
    return this.#hash.digest('hex');
  }

  /** Waits until the server has closed the session. */
  async status(): Promise<Status> {
    await this.#closed;
    const text = this.#text(ERROR);
    return text === '' ? {} : (JSON.parse(text) as Status);
  }

  /** The exit code that the server told. */
  async exitCode(): Promise<number> {
    const status = await this.status();
    if (status.status === 'Success') return 0;
    const cause = status.details?.causes?.find(({ reason }) => reason === 'ExitCode');
    if (cause === undefined) throw new Error(`no exit code: ${JSON.stringify(status)}`);
    return Number(cause.message);
  }

  /** Waits until stdout holds a text. */
  async shows(text: string): Promise<void> {
    await waitFor(`${JSON.stringify(text)} on stdout`, () => this.stdout.includes(text)).catch(
      (error) => {
        throw new Error(`stdout is ${JSON.stringify(this.stdout)}`, { cause: error });
      },
    );
  }

  type(content: string | Buffer): Promise<void> {
    return this.send(STDIN, content);
  }

  endInput(): Promise<void> {
    return this.send(CLOSE, Buffer.of(STDIN));
  }

  resize(width: number, height: number): Promise<void> {
    return this.send(RESIZE, JSON.stringify({ Width: width, Height: height }));
  }

  /** Resolves when the operating system has taken it. */
  send(channel: number, content: string | Buffer): Promise<void> {
    const message = Buffer.concat([Buffer.of(channel), Buffer.from(content)]);
    return new Promise((resolve, reject) =>
      this.socket.send(message, (error) => (error ? reject(error) : resolve())),
    );
  }

  /** Vanishes without a goodbye. */
  async vanish(): Promise<void> {
    this.socket.terminate();
    await this.#closed;
  }

  #take(data: Buffer): void {
    const channel = data[0] ?? ERROR;
    const payload = data.subarray(1);
    if (channel === STDOUT) {
      this.received += payload.length;
      this.#hash.update(payload);
      if (this.#discard) return;
    }
    const texts = this.#texts.get(channel) ?? [];
    texts.push(payload);
    this.#texts.set(channel, texts);
  }

  #text(channel: number): string {
    return Buffer.concat(this.#texts.get(channel) ?? []).toString();
  }
}
