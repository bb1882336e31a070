import { readFile } from 'node:fs/promises';
import { ifExists } from '../base/index.ts';

/** A v1 limit this large means that there is none: the kernel rounds the largest integer to pages. */
const NO_LIMIT = 2 ** 62;
/** What the kernel counts fits in 64 bits; a text that says more is none of its own. */
const LARGEST = 2n ** 63n - 1n;

/** Reads a file of the kernel. Undefined if it is not there, or goes while it is read. */
export async function readKernelFile(path: string): Promise<string | undefined> {
  try {
    return await ifExists(readFile(path, 'utf8'));
  } catch {
    return undefined; // ENODEV: it is being removed; EOPNOTSUPP: pressure is switched off.
  }
}

/** A whole number of at most 63 bits; undefined for anything else. */
export function parseCount(text: string | undefined): bigint | undefined {
  const digits = text?.trim() ?? '';
  if (!/^\d{1,19}$/.test(digits)) return undefined;
  const count = BigInt(digits);
  return count <= LARGEST ? count : undefined;
}

/** As `parseCount`, as a number. */
export function parseNumber(text: string | undefined): number | undefined {
  const count = parseCount(text);
  return count === undefined ? undefined : Math.min(Number(count), Number.MAX_SAFE_INTEGER);
}

/** A limit in v1's notation or v2's; undefined for none. */
export function parseLimit(text: string | undefined): number | undefined {
  const limit = parseCount(text);
  return limit === undefined || limit >= NO_LIMIT ? undefined : Number(limit);
}

/** `name value`, a line each. What is no number is left out. */
export function parseFlatKeyed(text: string | undefined): ReadonlyMap<string, number> {
  return new Map(
    (text ?? '').split('\n').flatMap((line): [string, number][] => {
      const [key = '', value, ...more] = line.split(' ');
      const number = more.length > 0 ? undefined : parseNumber(value);
      return number === undefined ? [] : [[key, number]];
    }),
  );
}

/** Pressure stall information: how long tasks waited for the resource (kernel docs, psi.rst). */
export interface Pressure {
  some: PressureLine;
  full: PressureLine;
}

/** Averages in percent, the total in nanoseconds. */
export interface PressureLine {
  avg10: number;
  avg60: number;
  avg300: number;
  total: bigint;
}

const NO_PRESSURE: PressureLine = { avg10: 0, avg60: 0, avg300: 0, total: 0n };

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, in microseconds, and the same with `full`. */
export function parsePressure(text: string | undefined): Pressure | undefined {
  const some = pressureLine('some', text);
  // Kernels before 5.13 have no line `full` for the CPU.
  return some === undefined ? undefined : { some, full: pressureLine('full', text) ?? NO_PRESSURE };
}

function pressureLine(kind: string, text: string | undefined): PressureLine | undefined {
  const pattern = `^${kind} avg10=([\\d.]+) avg60=([\\d.]+) avg300=([\\d.]+) total=(\\d+)$`;
  const match = new RegExp(pattern, 'm').exec(text ?? '');
  const [avg10, avg60, avg300] = (match ?? []).slice(1, 4).map(Number);
  const total = parseCount(`${match?.[4]}000`);
  if (avg10 === undefined || avg60 === undefined || avg300 === undefined) return undefined;
  const isNonsense = [avg10, avg60, avg300].some((average) => !(average >= 0 && average <= 100));
  return total === undefined || isNonsense ? undefined : { avg10, avg60, avg300, total };
}
