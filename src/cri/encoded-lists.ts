import type { ServiceDefinition } from '@grpc/grpc-js';
import type { MessageFns } from '../gen/runtime/v1/api.ts';

/** Where a response keeps its items in their encoded form. */
const ITEMS = Symbol('encoded items');

/** The tag of field 1, in which list responses have their items, with wire type LEN. */
const TAG = 0x0a;

/**
 * Encodes the items of a list, each once: records never change, they are replaced, so what
 * a record's item is encoded to stays right as long as there is the record.
 */
export class ItemEncoder<Record extends object, Item> {
  readonly #type: MessageFns<Item>;
  readonly #itemOf: (record: Record) => Item;
  readonly #encoded = new WeakMap<Record, Buffer>();

  constructor(type: MessageFns<Item>, itemOf: (record: Record) => Item) {
    this.#type = type;
    this.#itemOf = itemOf;
  }

  /** `response` with these items as its field 1, whose own list stays empty. */
  respond<Response extends object>(response: Response, records: readonly Record[]): Response {
    return Object.assign(response, { [ITEMS]: records.map((record) => this.#encode(record)) });
  }

  #encode(record: Record): Buffer {
    const known = this.#encoded.get(record);
    if (known !== undefined) return known;
    const item = this.#type.encode(this.#itemOf(record)).finish();
    const encoded = Buffer.concat([Buffer.from([TAG, ...varint(item.length)]), item]);
    this.#encoded.set(record, encoded);
    return encoded;
  }
}

/** A service whose responses may have their items encoded already. */
export function withEncodedItems<Service extends ServiceDefinition>(service: Service): Service {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => {
      const { responseSerialize } = method;
      const serialize = (response: object) =>
        ITEMS in response
          ? Buffer.concat(response[ITEMS] as Buffer[])
          : responseSerialize(response);
      return [name, { ...method, responseSerialize: serialize }];
    }),
  ) as Service;
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
