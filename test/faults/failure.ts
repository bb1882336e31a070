import { status } from '@grpc/grpc-js';

/** `CODE: message` of a call that fails, `OK` of one that does not. */
export async function failureOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'OK';
  } catch (error) {
    const { code, details } = error as { code?: number; details?: string };
    if (code === undefined) throw error;
    return `${status[code]}: ${details}`;
  }
}
