import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as api from '../../src/gen/nri/v1alpha1/api.ts';
import { Request, Response } from '../../src/gen/ttrpc/ttrpc.ts';

/** How a plugin answers one method; well, unless told otherwise. */
export interface PluginAnswer {
  /** The response message, as protobuf's JSON. */
  respond?: object;
  /** The code is a number of gRPC. */
  error?: { code: number; message: string };
  /** It never answers. */
  hang?: boolean;
  /** It ends at once. */
  exit?: boolean;
  /** Bytes for the socket instead of an answer, in hexadecimal. */
  bytes?: string;
  /** Bytes in place of the response message, in hexadecimal. */
  payload?: string;
  /** It takes its time: so many milliseconds. */
  delay?: number;
  /** It waits for this. Only of a plugin in the test's own process. */
  after?: Promise<unknown>;
  /** An UpdateContainers request that it makes before it answers. */
  update?: object;
}

/** By method. `stays`: it goes on when it is disconnected. */
export type PluginAnswers = Record<string, PluginAnswer | undefined>;

export interface PluginEvent {
  method: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests know the messages.
  request: any;
}

export interface PeerOptions {
  answers(): PluginAnswers;
  /** Takes each request, as protobuf's JSON. */
  note(event: PluginEvent): void;
  exit(): void;
}

/** Numbers of the connections on the socket. */
const PLUGIN = 1;
const RUNTIME = 2;

type Messages = Record<string, api.MessageFns<unknown> | undefined>;

/** The plugin's end of an NRI socket. It shares no code with the daemon but the messages. */
export class NriPeer {
  readonly #socket: Socket;
  readonly #options: PeerOptions;
  readonly #calls = new Map<number, (payload: Uint8Array) => void>();
  readonly #streams = new Map<number, Buffer>();
  #trunk: Buffer = Buffer.alloc(0);
  #nextStream = 1;
  #asked = 0;
  /** The most requests that it had not answered yet at a time. */
  mostAsked = 0;

  constructor(socket: Socket, options: PeerOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** Introduces itself, unless it is to hang. */
  async register(pluginIdx: string, pluginName: string): Promise<void> {
    if (this.#options.answers()['RegisterPlugin']?.hang) return;
    const request = api.RegisterPluginRequest.fromPartial({ pluginIdx, pluginName });
    await this.#call('RegisterPlugin', api.RegisterPluginRequest.encode(request).finish());
  }

  /** Calls UpdateContainers; takes and answers protobuf's JSON. */
  async update(request: object): Promise<unknown> {
    const message = api.UpdateContainersRequest.fromJSON(request);
    const bytes = api.UpdateContainersRequest.encode(message).finish();
    const answer = await this.#call('UpdateContainers', bytes);
    return api.UpdateContainersResponse.toJSON(api.UpdateContainersResponse.decode(answer));
  }

  #take(chunk: Buffer): void {
    this.#trunk = Buffer.concat([this.#trunk, chunk]);
    for (let next = cut(this.#trunk, 8, 4); next !== undefined; next = cut(this.#trunk, 8, 4)) {
      const [frame, rest] = next;
      this.#trunk = rest;
      const connection = frame.readUInt32BE(0);
      const before = this.#streams.get(connection) ?? Buffer.alloc(0);
      this.#streams.set(connection, Buffer.concat([before, frame.subarray(8)]));
      this.#takeMessages(connection);
    }
  }

  #takeMessages(connection: number): void {
    for (;;) {
      const next = cut(this.#streams.get(connection) ?? Buffer.alloc(0), 10, 0);
      if (next === undefined) return;
      const [message, rest] = next;
      this.#streams.set(connection, rest);
      const stream = message.readUInt32BE(4);
      const body = message.subarray(10);
      if (connection === PLUGIN) void this.#serve(stream, body);
      else this.#calls.get(stream)?.(Response.decode(body).payload);
    }
  }

  /** Answers a request of the daemon, well or badly. */
  async #serve(stream: number, body: Uint8Array): Promise<void> {
    this.#asked++;
    this.mostAsked = Math.max(this.mostAsked, this.#asked);
    await this.#answer(stream, body);
    this.#asked--;
  }

  async #answer(stream: number, body: Uint8Array): Promise<void> {
    const { service, method, payload } = Request.decode(body);
    if (service !== 'nri.pkg.api.v1alpha1.Plugin') throw new Error(`Called ${service}`);
    const type = messages(method === 'StateChange' ? 'StateChangeEvent' : `${method}Request`);
    const request = type.toJSON(type.decode(payload)) as { more?: boolean };
    this.#options.note({ method, request });
    const answer = this.#options.answers()[method] ?? {};
    if (answer.delay !== undefined) await sleep(answer.delay);
    await answer.after;
    if (answer.update !== undefined) await this.update(answer.update);
    if (answer.hang) return;
    if (answer.exit) this.#options.exit();
    else if (answer.bytes !== undefined) this.#socket.write(Buffer.from(answer.bytes, 'hex'));
    else if (answer.error !== undefined) this.#respond(stream, { status: answer.error });
    else if (answer.payload !== undefined) {
      this.#respond(stream, { payload: Buffer.from(answer.payload, 'hex') });
    } else {
      const response = messages(`${method}Response`);
      // All parts of a list that comes in several are taken.
      const echo = method === 'Synchronize' ? { more: request.more } : {};
      const message = response.fromJSON({ ...echo, ...answer.respond });
      this.#respond(stream, { payload: Buffer.from(response.encode(message).finish()) });
    }
  }

  #respond(stream: number, response: Parameters<typeof Response.fromPartial>[0]): void {
    this.#send(PLUGIN, stream, 2, Response.encode(Response.fromPartial(response)).finish());
  }

  #call(method: string, payload: Uint8Array): Promise<Uint8Array> {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    const service = 'nri.pkg.api.v1alpha1.Runtime';
    const request = Request.fromPartial({ service, method, payload: Buffer.from(payload) });
    this.#send(RUNTIME, stream, 1, Request.encode(request).finish());
    return new Promise((resolve) => this.#calls.set(stream, resolve));
  }

  #send(connection: number, stream: number, type: number, body: Uint8Array): void {
    const frame = Buffer.alloc(18 + body.length);
    frame.writeUInt32BE(connection, 0);
    frame.writeUInt32BE(10 + body.length, 4);
    frame.writeUInt32BE(body.length, 8);
    frame.writeUInt32BE(stream, 12);
    frame.writeUInt8(type, 16);
    frame.set(body, 18);
    this.#socket.write(frame);
  }
}

function messages(name: string): api.MessageFns<unknown> {
  return (api as unknown as Messages)[name] ?? (api.Empty as api.MessageFns<unknown>);
}

/** Cuts the first frame off a buffer; its length is at an offset of its header. */
function cut(buffer: Buffer, header: number, lengthAt: number): [Buffer, Buffer] | undefined {
  if (buffer.length < header) return undefined;
  const end = header + buffer.readUInt32BE(lengthAt);
  return buffer.length < end ? undefined : [buffer.subarray(0, end), buffer.subarray(end)];
}
