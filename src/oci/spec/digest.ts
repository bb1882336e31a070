import { createHash } from 'node:crypto';
import { KeelsonError } from '../../base/index.ts';

/** Hex digits of a digest by algorithm (image-spec descriptor.md, "Registered algorithms"). */
const HEX_DIGITS = { sha256: 64, sha512: 128 } as const;

export type DigestAlgorithm = keyof typeof HEX_DIGITS;

export interface ParsedDigest {
  algorithm: DigestAlgorithm;
  /** Lower-case hex digits, safe as a file name. */
  hex: string;
}

/** Takes `sha256:…` or `sha512:…` apart. Fails with INVALID_ARGUMENT for anything else. */
export function parseDigest(text: string): ParsedDigest {
  const [, algorithm, hex] = /^([a-z0-9]+):([0-9a-f]+)$/.exec(text) ?? [];
  if (hex !== undefined && isAlgorithm(algorithm) && hex.length === HEX_DIGITS[algorithm]) {
    return { algorithm, hex };
  }
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot use digest ${JSON.stringify(text)}`, {
    reason: 'it is not "sha256:" with 64 or "sha512:" with 128 lower-case hex digits',
  });
}

export function isDigest(text: string): boolean {
  return /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text);
}

export function digestOf(content: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(content).digest('hex')}`;
}

/** Fails with DATA_LOSS unless `content` has the digest `expected`. `what` names it in the error. */
export function verifyDigest(content: Uint8Array, expected: string, what: string): void {
  const actual = digestOf(content, parseDigest(expected).algorithm);
  if (actual === expected) return;
  throw new KeelsonError('DATA_LOSS', `Cannot trust ${what}`, {
    reason: `its digest is ${actual}, not ${expected}`,
  });
}

/** The chain ids of layers, base first (image-spec config.md, "Layer ChainID"). */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

function isAlgorithm(text: string | undefined): text is DigestAlgorithm {
  return text === 'sha256' || text === 'sha512';
}
