import { readFileSync } from 'node:fs';
import { arch } from 'node:os';

/** What an image runs on (image-spec image-index.md, "platform"). */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string | undefined;
}

const ARCHITECTURES: Record<string, string> = {
  x86_64: 'amd64',
  'x86-64': 'amd64',
  x64: 'amd64',
  aarch64: 'arm64',
  i386: '386',
  ia32: '386',
  ppc64: 'ppc64le',
};

/** One spelling for each platform: names of other systems translated, default variants left out. */
export function normalisePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const named = platform.architecture.toLowerCase();
  const given = platform.variant?.toLowerCase() ?? '';
  if (named === 'armhf') return { os, architecture: 'arm', variant: given || 'v7' };
  if (named === 'armel') return { os, architecture: 'arm', variant: given || 'v6' };
  const architecture = ARCHITECTURES[named] ?? named;
  const variant = normaliseVariant(architecture, given);
  return variant === '' ? { os, architecture } : { os, architecture, variant };
}

function normaliseVariant(architecture: string, variant: string): string {
  const full = /^\d/.test(variant) ? `v${variant}` : variant;
  if (architecture === 'arm') return full === '' ? 'v7' : full;
  if (architecture === 'amd64' && full === 'v1') return '';
  if (architecture === 'arm64' && (full === 'v8' || full === 'v8.0')) return '';
  return full;
}

/**
 * The platforms whose programs run on `host`, best first: its own, then lower levels of
 * the same architecture, then the older architecture that it also runs.
 */
export function runnablePlatforms(host: Platform): Platform[] {
  const { os, architecture, variant } = normalisePlatform(host);
  const at = (name: string, level?: string): Platform =>
    level === undefined ? { os, architecture: name } : { os, architecture: name, variant: level };
  const level = Number(/^v(\d+)/.exec(variant ?? '')?.[1] ?? 0);
  switch (architecture) {
    case 'amd64':
      return [...down(level, 2).map((n) => at('amd64', `v${n}`)), at('amd64'), at('386')];
    case 'arm':
      return down(level, 5).map((n) => at('arm', `v${n}`));
    case 'arm64':
      return [
        ...arm64Variants(variant).map((v) => at('arm64', v)),
        at('arm64'),
        ...down(8, 5).map((n) => at('arm', `v${n}`)),
      ];
    default:
      return variant === undefined
        ? [at(architecture)]
        : [at(architecture, variant), at(architecture)];
  }
}

/**
 * Where `candidate` stands among the platforms that `host` runs, 0 is best; undefined if
 * it does not run there. Entries of unknown platform, such as build attestations, never do.
 */
export function platformRank(host: Platform, candidate: Platform): number | undefined {
  const found = normalisePlatform(candidate);
  const rank = runnablePlatforms(host).findIndex(
    (platform) =>
      platform.os === found.os &&
      platform.architecture === found.architecture &&
      platform.variant === found.variant,
  );
  return rank < 0 ? undefined : rank;
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return `${os}/${architecture}${variant ? `/${variant}` : ''}`;
}

/** Reads `linux/arm/v7`. Undefined if it is not of that form. */
export function parsePlatform(text: string): Platform | undefined {
  const [os, architecture, variant, ...rest] = text.split('/');
  if (!os || !architecture || rest.length > 0) return undefined;
  return normalisePlatform({ os, architecture, variant });
}

/** The platform of this machine. */
export function hostPlatform(): Platform {
  const platform = normalisePlatform({ os: process.platform, architecture: arch() });
  const variant = cpuVariant(platform.architecture);
  return variant === undefined ? platform : normalisePlatform({ ...platform, variant });
}

/** The integers from `from` down to `to`. */
function down(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, from - to + 1) }, (_, index) => from - index);
}

/** v9.2 → v9.2 v9.1 v9.0 v9, then v8.7 … v8.1: each v9 minor runs the v8 minor five above it. */
function arm64Variants(variant: string | undefined): string[] {
  const [, major, minor] = /^v(\d+)(?:\.(\d+))?$/.exec(variant ?? '') ?? [];
  if (major === undefined) return [];
  const top = Number(minor ?? 0);
  const eighth = (highest: number) => down(highest, 1).map((n) => `v8.${n}`);
  if (major === '8') return eighth(top);
  if (major === '9') return [...down(top, 0).map((n) => `v9.${n}`), 'v9', ...eighth(top + 5)];
  return [`v${major}`];
}

/** Flags in /proc/cpuinfo of the x86-64 levels, in the psABI's order. */
const AMD64_LEVELS = [
  ['cx16', 'lahf_lm', 'popcnt', 'sse4_1', 'sse4_2', 'ssse3'],
  ['avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe'],
  ['avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl'],
];

function cpuVariant(architecture: string): string | undefined {
  if (architecture !== 'amd64' && architecture !== 'arm') return undefined;
  let text: string;
  try {
    text = readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return undefined;
  }
  if (architecture === 'arm') {
    const level = /^CPU architecture\s*:\s*(\d+)/m.exec(text)?.[1];
    return level === undefined ? undefined : `v${level}`;
  }
  const flags = new Set(/^flags\s*:(.*)$/m.exec(text)?.[1]?.trim().split(/\s+/));
  const missing = AMD64_LEVELS.findIndex((level) => !level.every((flag) => flags.has(flag)));
  return `v${(missing < 0 ? AMD64_LEVELS.length : missing) + 1}`;
}
