import type { ErrorCode } from '../../../src/base/index.ts';

/** One call that came to the scripted driver. */
export interface ScriptedCall {
  readonly rpc: string;
  readonly request: object;
  /** Does what the driver would do, and answers its answer. */
  work(): Promise<object>;
  /** Sends a message; more than one is against the protocol. */
  send(response: object): void;
  /** Sends bytes that are no message of this call. */
  sendBytes(bytes: Uint8Array): void;
  end(): void;
  fail(code: ErrorCode, message: string): void;
  /** Resolves when the client has given the call up. */
  readonly givenUp: Promise<void>;
  /** Breaks all connections, as a driver does that is killed. */
  crash(): void;
}

/** What happens instead of a proper answer. */
export type Fault = (call: ScriptedCall) => Promise<void>;

/** Never answers, and does nothing. */
export const hang: Fault = (call) => call.givenUp;

/** Does its work, but the answer never comes. */
export const workThenHang: Fault = async (call) => {
  await call.work();
  await call.givenUp;
};

/** Does its work only when nobody waits for the answer any more. */
export const workLate: Fault = async (call) => {
  await call.givenUp;
  call.send(await call.work());
  call.end();
};

/** Is killed before it has done anything. */
export const crashBefore: Fault = async (call) => call.crash();

/** Is killed when all is done but the answer. */
export const crashAfter: Fault = async (call) => {
  await call.work();
  call.crash();
};

/** Sends its answer twice. */
export const answerTwice: Fault = async (call) => {
  const response = await call.work();
  call.send(response);
  call.send(response);
  call.end();
};

/** Answers bytes that are no message. */
export const answerGarbage: Fault = async (call) => {
  call.sendBytes(Buffer.from([0x0a, 0xff, 0xff, 0xff]));
  call.end();
};

/** Fails with this status, and has done nothing. */
export function failWith(code: ErrorCode, message: string): Fault {
  return async (call) => call.fail(code, message);
}

/** Does its work, and fails with this status all the same. */
export function workThenFail(code: ErrorCode, message: string): Fault {
  return async (call) => {
    await call.work();
    call.fail(code, message);
  };
}

/** Lies: what the driver would answer is changed. */
export function change<T extends object>(lie: (response: T) => object): Fault {
  return async (call) => {
    call.send(lie((await call.work()) as T));
    call.end();
  };
}
