/**
 * Versions of the CNI specification that Keelson speaks, oldest first. Inside, everything
 * has the form of the newest; results are converted where they come in or go out.
 */
export const CNI_VERSIONS = [
  '0.1.0',
  '0.2.0',
  '0.3.0',
  '0.3.1',
  '0.4.0',
  '1.0.0',
  '1.1.0',
] as const;

export type CniVersion = (typeof CNI_VERSIONS)[number];

/** What a configuration without `cniVersion` means. */
export const OLDEST_VERSION: CniVersion = '0.1.0';

export const NEWEST_VERSION: CniVersion = '1.1.0';

export function isCniVersion(version: unknown): version is CniVersion {
  return CNI_VERSIONS.some((known) => known === version);
}

/** Whether it has the form of a version, known or not. */
export function isVersion(text: string): boolean {
  return /^\d+(\.\d+){0,2}$/.test(text);
}

/** Whether `version` is `minimum` or newer. */
export function isAtLeast(version: CniVersion, minimum: CniVersion): boolean {
  return CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(minimum);
}

/** The newest of `versions` that Keelson speaks, undefined if there is none. */
export function newestOf(versions: readonly string[]): CniVersion | undefined {
  return CNI_VERSIONS.findLast((known) => versions.includes(known));
}
