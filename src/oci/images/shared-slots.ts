import { type ErrorCode, KeelsonError } from '../../base/errors.ts';

const SLOTS = 4;
const SLOT_SIZE = 256 * 1024;
/** Characters of a failure's message, each of which takes six bytes of JSON at most. */
const MAX_MESSAGE = 1000;
const FAILURE_SIZE = 8 * 1024;

/** States of a slot. */
const FREE = 0;
const FILLING = 1;
const READY = 2;
const TAKEN = 3;

/** Words behind the states and the lengths of the slots. */
const CHANGES = 2 * SLOTS;
const DISMISSED = CHANGES + 1;
/** 0: none, 1: being written, 2: there. */
const FAILED = CHANGES + 2;
const FAILURE_LENGTH = CHANGES + 3;
const WORDS = CHANGES + 4;

const FAILURE_AT = WORDS * 4;
const SLOTS_AT = FAILURE_AT + FAILURE_SIZE;

/** Why a piece of work failed, in a form that threads can pass on. */
export interface Failure {
  code: ErrorCode;
  message: string;
}

/**
 * Pieces of work in memory that threads share. One thread fills slots; it and others take
 * those that are ready, in no particular order, and free them when the work is done.
 */
export class SharedSlots {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer = new SharedArrayBuffer(SLOTS_AT + SLOTS * SLOT_SIZE)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, WORDS);
  }

  /** A free slot to fill; undefined if there is none. */
  takeFree(): number | undefined {
    return this.#take(FREE, FILLING);
  }

  /** A slot with work to do; undefined if there is none. */
  takeReady(): number | undefined {
    return this.#take(READY, TAKEN);
  }

  memory(slot: number): Buffer {
    return Buffer.from(this.buffer, SLOTS_AT + slot * SLOT_SIZE, SLOT_SIZE);
  }

  /** Offers the first `length` bytes of a filled slot as work. */
  publish(slot: number, length: number): void {
    Atomics.store(this.#words, SLOTS + slot, length);
    this.#set(slot, READY);
  }

  /** Bytes of a slot that was published. */
  lengthOf(slot: number): number {
    return Atomics.load(this.#words, SLOTS + slot);
  }

  free(slot: number): void {
    this.#set(slot, FREE);
  }

  /** Whether all work that was published is done. */
  get isDone(): boolean {
    for (let slot = 0; slot < SLOTS; slot++) {
      if (Atomics.load(this.#words, slot) >= READY) return false;
    }
    return true;
  }

  /** A number that grows with each change, to be waited beyond. */
  get changes(): number {
    return Atomics.load(this.#words, CHANGES);
  }

  /** Blocks the thread until something has changed since `changes` was read. */
  waitBeyond(changes: number): void {
    Atomics.wait(this.#words, CHANGES, changes);
  }

  /** Asks the threads that help to do something else. */
  dismiss(): void {
    Atomics.store(this.#words, DISMISSED, 1);
    this.#changed();
  }

  /** Before another thread is sent to help. */
  welcome(): void {
    Atomics.store(this.#words, DISMISSED, 0);
  }

  get isDismissed(): boolean {
    return Atomics.load(this.#words, DISMISSED) === 1;
  }

  /** Notes why work failed. The first reason stays. */
  fail({ code, message }: Failure): void {
    if (Atomics.compareExchange(this.#words, FAILED, 0, 1) !== 0) return;
    const text = Buffer.from(JSON.stringify({ code, message: message.slice(0, MAX_MESSAGE) }));
    Buffer.from(this.buffer, FAILURE_AT, FAILURE_SIZE).set(text);
    Atomics.store(this.#words, FAILURE_LENGTH, text.length);
    Atomics.store(this.#words, FAILED, 2);
  }

  /** Throws why work failed, if some has. */
  check(): void {
    if (Atomics.load(this.#words, FAILED) !== 2) return;
    const length = Atomics.load(this.#words, FAILURE_LENGTH);
    const text = Buffer.from(this.buffer, FAILURE_AT, length).toString();
    const { code, message }: Failure = JSON.parse(text);
    throw new KeelsonError(code, message);
  }

  /** A thread that helped is gone, and whatever it had taken will not be done. */
  lose(failure: Failure): void {
    this.fail(failure);
    for (let slot = 0; slot < SLOTS; slot++) {
      Atomics.compareExchange(this.#words, slot, TAKEN, FREE);
    }
    this.#changed();
  }

  #take(from: number, to: number): number | undefined {
    for (let slot = 0; slot < SLOTS; slot++) {
      if (Atomics.compareExchange(this.#words, slot, from, to) === from) return slot;
    }
    return undefined;
  }

  #set(slot: number, state: number): void {
    Atomics.store(this.#words, slot, state);
    this.#changed();
  }

  #changed(): void {
    Atomics.add(this.#words, CHANGES, 1);
    Atomics.notify(this.#words, CHANGES);
  }
}
