import { codeOf, KeelsonError, messageOf } from '../../base/index.ts';
import { Request } from '../../gen/ttrpc/ttrpc.ts';
import { FrameReader, MESSAGE_FORMAT } from './frames.ts';
import { failureMessage, REQUEST, readHeader, responseMessage } from './messages.ts';

/** Takes an encoded request and answers the encoded response. */
export type Method = (payload: Uint8Array) => Promise<Uint8Array>;

/** Most calls of one client that are under way. */
const MOST_CALLS = 32;

/** The answering end of a ttrpc connection: unary methods, by `SERVICE/METHOD`. */
export class TtrpcServer {
  readonly #methods: ReadonlyMap<string, Method>;
  readonly #send: (message: Buffer) => void;
  readonly #reader: FrameReader;
  #lastStream = 0;
  #running = 0;

  constructor(methods: ReadonlyMap<string, Method>, send: (message: Buffer) => void) {
    this.#methods = methods;
    this.#send = send;
    this.#reader = new FrameReader(MESSAGE_FORMAT, (header, payload) =>
      this.#take(header, payload),
    );
  }

  /** Takes bytes from the peer. Fails when they are not what a client says. */
  receive(bytes: Buffer): void {
    this.#reader.push(bytes);
  }

  #take(header: Buffer, payload: Buffer): void {
    const { streamId, type, streaming } = readHeader(header);
    if (type !== REQUEST || streamId % 2 === 0 || streamId <= this.#lastStream) {
      throw new KeelsonError('DATA_LOSS', 'Cannot make sense of a message', {
        reason: `type ${type} on stream ${streamId} begins no call`,
      });
    }
    this.#lastStream = streamId;
    const request = Request.decode(payload);
    void this.#answer(request, streaming).then(
      (answer) => this.#send(responseMessage(streamId, answer)),
      (error: unknown) => this.#send(failureMessage(streamId, codeOf(error), messageOf(error))),
    );
  }

  async #answer(request: Request, streaming: boolean): Promise<Uint8Array> {
    const name = `${request.service}/${request.method}`;
    const method = this.#methods.get(name);
    if (method === undefined || streaming) {
      throw new KeelsonError('UNIMPLEMENTED', `There is no method "${name}"`);
    }
    if (this.#running >= MOST_CALLS) {
      throw new KeelsonError('RESOURCE_EXHAUSTED', `Cannot call "${name}"`, {
        reason: `${MOST_CALLS} calls are under way`,
      });
    }
    this.#running++;
    try {
      return await method(request.payload);
    } finally {
      this.#running--;
    }
  }
}
