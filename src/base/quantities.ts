const UNITS_OF_TIME: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

const UNITS_OF_SIZE: Record<string, number> = {
  '': 1,
  K: 1000,
  M: 1000 ** 2,
  G: 1000 ** 3,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** Milliseconds of a duration such as `90s`, `1m30s` or `500ms`; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) return text === '0' ? 0 : undefined;
  let milliseconds = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) {
    milliseconds += Number(amount) * (UNITS_OF_TIME[unit ?? ''] ?? 0);
  }
  return Math.round(milliseconds);
}

/** The duration as `parseDuration` reads it, in the largest unit that needs no fraction. */
export function formatDuration(milliseconds: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    const factor = UNITS_OF_TIME[unit] ?? 1;
    if (milliseconds > 0 && milliseconds % factor === 0) return `${milliseconds / factor}${unit}`;
  }
  return milliseconds === 0 ? '0s' : `${milliseconds}ms`;
}

/** Bytes of a size such as `64MiB`, `10M` or `4096`; undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+)(K|M|G|KiB|MiB|GiB|TiB)?$/.exec(text);
  if (match === null) return undefined;
  const bytes = Number(match[1]) * (UNITS_OF_SIZE[match[2] ?? ''] ?? 0);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The size as `parseSize` reads it, in the largest binary unit that needs no fraction. */
export function formatSize(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    const factor = UNITS_OF_SIZE[unit] ?? 1;
    if (bytes > 0 && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}
