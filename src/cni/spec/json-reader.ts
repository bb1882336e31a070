import { formatCidr, formatIp, messageOf, parseCidr, parseIp } from '../../base/index.ts';
import { CNI_ERROR, CniError } from './error.ts';

/** Characters of a foreign value that a message quotes. */
const QUOTED = 200;

/**
 * Takes JSON from outside apart. What is not as expected becomes a `CniError` with the
 * code given, whose message names the place: `result of plugin "x": ips[0].address …`.
 * As in Go, which plugins are written in, null counts as left out, and a key may be written
 * in capitals.
 */
export class JsonReader {
  readonly value: unknown;
  readonly #where: string;
  readonly #cniCode: number;

  constructor(value: unknown, where: string, cniCode: number) {
    this.value = value;
    this.#where = where;
    this.#cniCode = cniCode;
  }

  /** The value of a key of this object, undefined if it is left out. */
  get(key: string): JsonReader | undefined {
    const value = similarValue(this.record(), key);
    if (value === undefined || value === null) return undefined;
    return new JsonReader(value, `${this.#where}.${key}`, this.#cniCode);
  }

  required(key: string): JsonReader {
    const reader = this.get(key);
    if (reader === undefined) throw this.error(`"${key}" is missing`);
    return reader;
  }

  record(): Record<string, unknown> {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.#unexpected('an object');
    }
    return value as Record<string, unknown>;
  }

  items(): JsonReader[] {
    if (!Array.isArray(this.value)) throw this.#unexpected('an array');
    return this.value.map(
      (item, index) => new JsonReader(item, `${this.#where}[${index}]`, this.#cniCode),
    );
  }

  string(): string {
    if (typeof this.value !== 'string') throw this.#unexpected('a string');
    return this.value;
  }

  strings(): string[] {
    return this.items().map((item) => item.string());
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') throw this.#unexpected('true or false');
    return this.value;
  }

  integer(minimum: number, maximum: number): number {
    const { value } = this;
    if (
      typeof value !== 'number' ||
      !Number.isInteger(value) ||
      value < minimum ||
      value > maximum
    ) {
      throw this.#unexpected(`an integer from ${minimum} to ${maximum}`);
    }
    return value;
  }

  /** An IP address in its usual form, undefined for the empty string. */
  address(): string | undefined {
    const text = this.string();
    if (text === '') return undefined;
    const ip = parseIp(text);
    if (ip === undefined) throw this.#unexpected('an IP address');
    return formatIp(ip);
  }

  /** An address with its prefix length, in the usual form: `10.1.0.5/16`. */
  cidr(): string {
    const cidr = parseCidr(this.string());
    if (cidr === undefined) throw this.#unexpected('an address with prefix length');
    return formatCidr(cidr);
  }

  error(reason: string): CniError {
    return new CniError(this.#cniCode, this.#where, { details: reason });
  }

  #unexpected(expected: string): CniError {
    const got = JSON.stringify(this.value) ?? String(this.value);
    return this.error(
      `expected ${expected}, got ${got.length > QUOTED ? `${got.slice(0, QUOTED)}…` : got}`,
    );
  }
}

/** JSON text from outside. `what` names it in the `CniError` (decoding failure) that it may come to. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const shown = text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
    throw new CniError(CNI_ERROR.DECODING_FAILURE, what, {
      details: text === '' ? 'it is empty' : `${messageOf(error)}: ${JSON.stringify(shown)}`,
    });
  }
}

/** The value of the key; or of one that differs from it in nothing but capitals. */
function similarValue(record: Record<string, unknown>, key: string): unknown {
  if (Object.hasOwn(record, key)) return record[key];
  const lower = key.toLowerCase();
  const similar = Object.keys(record).find((other) => other.toLowerCase() === lower);
  return similar === undefined ? undefined : record[similar];
}

type Compact<T> = {
  [K in keyof T as undefined extends T[K] ? never : K]: T[K];
} & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The object without the keys whose value is undefined. */
export function compact<T extends object>(value: T): Compact<T> {
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries) as Compact<T>;
}
