import koffi from 'koffi';
import { inThreadPool } from './ffi.ts';

/**
 * struct inflate_state of ISA-L's igzip_lib.h: offsets of the fields that are used here.
 * They are the same for all 64-bit machines and all versions of libisal.so.2; whether they
 * are this library's is tried out before it is used.
 */
const NEXT_OUT = 0;
const AVAIL_OUT = 8;
const NEXT_IN = 16;
const AVAIL_IN = 32;
const BLOCK_STATE = 21_160;
const CRC_FLAG = 21_172;
/** It has 87,368 bytes: room for a library in which it is larger. */
const STATE_SIZE = 128 * 1024;

/** Values of `crc_flag` and `block_state`, and what isal_inflate answers. */
const ISAL_GZIP = 1;
const ISAL_BLOCK_FINISH = 5;
const FAILURES = new Map([
  [-1, 'invalid block'],
  [-2, 'invalid symbol'],
  [-3, 'invalid distance'],
  [-4, 'incorrect header'],
  [-5, 'unsupported method'],
  [-6, 'incorrect checksum'],
]);

interface Library {
  /** Prepares a state for a new stream. */
  init(state: Buffer): void;
  /** Decompresses until the input is used up or the output full, in the thread pool. */
  inflate(state: Buffer): Promise<number>;
}

let library: Promise<Library | undefined> | undefined;

/** Intel's ISA-L if this host has it, and in a form that is known here. */
async function findLibrary(): Promise<Library | undefined> {
  const found = loadLibrary();
  return found !== undefined && (await isAsKnown(found)) ? found : undefined;
}

function loadLibrary(): Library | undefined {
  let isal: ReturnType<typeof koffi.load>;
  try {
    isal = koffi.load('libisal.so.2');
  } catch {
    return undefined;
  }
  const inflate = isal.func('int isal_inflate(void *state)');
  return {
    init: isal.func('void isal_inflate_init(void *state)'),
    inflate: (state) => inThreadPool((settle) => inflate.async(state, settle)),
  };
}

/** "keelson" in gzip, and a zero behind it. */
const SAMPLE = Buffer.from('H4sIAAAAAAAC/8tOTc0pzs8DADAEHnIHAAAAAA==', 'base64');

/** Whether a sample comes out as it should: each field is where it is looked for. */
async function isAsKnown(found: Library): Promise<boolean> {
  const gunzip = new IsalGunzip(found);
  const output = Buffer.alloc(16);
  gunzip.give(SAMPLE);
  const made = await gunzip.inflate(output);
  const text = output.toString('latin1', 0, made);
  return text === 'keelson' && gunzip.ended && gunzip.left === 1;
}

/**
 * Decompresses gzip members by Intel's ISA-L, in the thread pool, and checks their
 * checksums. It takes two thirds of zlib's time. Input and output lie in the caller's
 * buffers, so that it leaves nothing to the collector.
 */
export class IsalGunzip {
  readonly #library: Library;
  readonly #state = Buffer.allocUnsafeSlow(STATE_SIZE);
  /** Kept as long as the library reads it. */
  #input: Buffer = Buffer.alloc(0);

  /** For `open`. */
  constructor(library: Library) {
    this.#library = library;
    this.restart();
  }

  /** Undefined if this host has no ISA-L, or one that this program does not know. */
  static async open(): Promise<IsalGunzip | undefined> {
    library ??= findLibrary();
    const found = await library;
    return found === undefined ? undefined : new IsalGunzip(found);
  }

  /** Begins another member with the input that is left. */
  restart(): void {
    const left = this.left;
    this.#library.init(this.#state);
    this.#state.writeUInt32LE(ISAL_GZIP, CRC_FLAG);
    this.give(this.#input.subarray(this.#input.length - left));
  }

  /** The next piece of input: all of the one before has been used. */
  give(input: Buffer): void {
    this.#input = input;
    this.#state.writeBigUInt64LE(addressOf(input), NEXT_IN);
    this.#state.writeUInt32LE(input.length, AVAIL_IN);
  }

  /** Fills `output` as far as the input goes, and answers how far. */
  async inflate(output: Buffer): Promise<number> {
    this.#state.writeBigUInt64LE(addressOf(output), NEXT_OUT);
    this.#state.writeUInt32LE(output.length, AVAIL_OUT);
    const result = await this.#library.inflate(this.#state);
    if (result < 0) throw new Error(FAILURES.get(result) ?? `isal_inflate answered ${result}`);
    return output.length - this.#state.readUInt32LE(AVAIL_OUT);
  }

  /** The bytes of input that have not been used. */
  get left(): number {
    return this.#input.length === 0 ? 0 : this.#state.readUInt32LE(AVAIL_IN);
  }

  /** The first byte of what is left, undefined if there is none. */
  get nextByte(): number | undefined {
    return this.#input.at(-this.left || this.#input.length);
  }

  /** The end of the member has been read, and all its output handed over. */
  get ended(): boolean {
    return this.#state.readUInt32LE(BLOCK_STATE) === ISAL_BLOCK_FINISH;
  }
}

function addressOf(buffer: Buffer): bigint {
  return BigInt(koffi.address(buffer));
}
