import { z } from 'zod';
import { KeelsonError } from '../../base/index.ts';

const FACTORS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  Pi: 1024 ** 5,
  Ei: 1024 ** 6,
};

const QUANTITY =
  /^([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$/;

/**
 * Bytes of a Kubernetes quantity such as `5Gi`, `1.5G`, `2e9` or `4096`, fractions rounded
 * up; undefined if it is none, negative, or beyond 2^53-1.
 */
export function parseQuantity(text: string): number | undefined {
  const match = QUANTITY.exec(text);
  if (match === null) return undefined;
  const [, amount = '', exponent, unit = ''] = match;
  const value =
    exponent === undefined ? Number(amount) * (FACTORS[unit] ?? 0) : Number(`${amount}${exponent}`);
  const bytes = Math.ceil(value);
  return Number.isSafeInteger(bytes) && bytes >= 0 ? bytes + 0 : undefined;
}

/** The same in the largest binary unit that needs no fraction, as Kubernetes writes it. */
export function formatQuantity(bytes: number): string {
  for (const unit of ['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki']) {
    const factor = FACTORS[unit] ?? 1;
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}

/** Bytes of a quantity that a schema has checked already. */
export function bytesOf(quantity: string): number {
  const bytes = parseQuantity(quantity);
  if (bytes !== undefined) return bytes;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot read quantity "${quantity}"`);
}

/** A quantity as YAML has it: text, or a bare number of bytes. Kept as text. */
export const quantity = z
  .union([z.string(), z.number()], { error: 'must be a quantity such as "5Gi"' })
  .transform((value, context) => {
    const text = String(value);
    if (parseQuantity(text) !== undefined) return text;
    context.addIssue({ code: 'custom', message: 'must be a quantity such as "5Gi"' });
    return z.NEVER;
  });
