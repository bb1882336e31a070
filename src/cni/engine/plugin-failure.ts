import type { RunResult } from '../../linux/index.ts';
import { CNI_ERROR, type CniCommand, CniError } from '../spec/index.ts';

/** Characters kept of what a plugin says about its failure. */
const LONGEST_TEXT = 4096;

/**
 * Why a plugin program failed: the error object on its standard output, or else what it
 * printed, and how it ended.
 */
export function failureOf(program: string, command: CniCommand, result: RunResult): CniError {
  const stderr = tail(result.stderr.toString().trim());
  const stdout = result.stdout.toString().trim();
  const object = parseErrorObject(stdout);
  if (object !== undefined) {
    return new CniError(object.code, tail(object.msg), {
      details: [tail(object.details), stderr].filter((text) => text !== '').join('; '),
    });
  }
  const ending =
    result.signal === undefined ? `exit code ${result.code}` : `ended by ${result.signal}`;
  const printed = stderr || tail(stdout);
  return new CniError(CNI_ERROR.INTERNAL, `CNI plugin "${program}" failed ${command}`, {
    details: printed === '' ? `${ending}, without a word` : `${ending}: ${printed}`,
  });
}

interface ErrorObject {
  code: number;
  msg: string;
  details: string;
}

function parseErrorObject(text: string): ErrorObject | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null) return undefined;
  const { code, msg, details } = json as Record<string, unknown>;
  if (typeof msg !== 'string' || msg === '') return undefined;
  return {
    code: Number.isSafeInteger(code) ? Number(code) : CNI_ERROR.UNKNOWN,
    msg,
    details: typeof details === 'string' ? details : '',
  };
}

/** The end of a long text is where the error stands. */
function tail(text: string): string {
  return text.length > LONGEST_TEXT ? `…${text.slice(-LONGEST_TEXT)}` : text;
}
