import { KeelsonError } from '../../base/index.ts';
import { isDigest } from './digest.ts';

/** Where an image is found: `domain/path`, and a tag or a digest or both there. */
export interface Reference {
  /** Host and port: `docker.io`, `localhost:5000`, `[::1]:5000`. */
  readonly domain: string;
  /** Path components without the domain: `library/busybox`. */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

const DEFAULT_DOMAIN = 'docker.io';
const DEFAULT_TAG = 'latest';
const MAX_NAME_LENGTH = 255;

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const DOMAIN_COMPONENT = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const PATH_PATTERN = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const DOMAIN_PATTERN = new RegExp(
  `^(?:${DOMAIN_COMPONENT}(?:\\.${DOMAIN_COMPONENT})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`,
);
const TAG_PATTERN = /^\w[\w.-]{0,127}$/;

/**
 * Reads an image reference by the rules of distribution: `busybox` means
 * `docker.io/library/busybox:latest`. Fails with INVALID_ARGUMENT.
 */
export function parseReference(text: string): Reference {
  const parts = splitReference(text);
  const named = normaliseName(parts.name);
  const tag = parts.tag ?? (parts.digest === undefined ? DEFAULT_TAG : undefined);
  const reason = findFault(text, { ...named, tag, digest: parts.digest });
  if (reason !== undefined) throw badReference(text, reason);
  return { ...named, tag, digest: parts.digest };
}

/** Whether a reference leaves its registry to the reader: `busybox`, `team/app:1`. */
export function isShortName(text: string): boolean {
  const { name } = splitReference(text);
  const slash = name.indexOf('/');
  return slash < 0 || !isDomain(name.slice(0, slash));
}

/** The full form: `docker.io/library/busybox:1.36@sha256:…`. */
export function formatReference(reference: Reference): string {
  const { tag, digest } = reference;
  return `${repositoryOf(reference)}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** The repository that a reference points into: `docker.io/library/busybox`. */
export function repositoryOf(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

interface Parts {
  name: string;
  tag: string | undefined;
  digest: string | undefined;
}

function splitReference(text: string): Parts {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const tagged = at < 0 ? text : text.slice(0, at);
  const colon = tagged.indexOf(':', tagged.lastIndexOf('/') + 1);
  // `localhost:5000` alone, without a path, reads as a name with a tag, as everywhere.
  if (colon < 0) return { name: tagged, tag: undefined, digest };
  return { name: tagged.slice(0, colon), tag: tagged.slice(colon + 1), digest };
}

function normaliseName(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const explicit = slash >= 0 && isDomain(first);
  const domain = explicit && first !== 'index.docker.io' ? first : DEFAULT_DOMAIN;
  const path = explicit ? name.slice(slash + 1) : name;
  const official = domain === DEFAULT_DOMAIN && !path.includes('/');
  return { domain, path: official ? `library/${path}` : path };
}

function isDomain(component: string): boolean {
  return (
    /[.:]/.test(component) || component === 'localhost' || component.toLowerCase() !== component
  );
}

function findFault(text: string, { domain, path, tag, digest }: Reference): string | undefined {
  if (text === '') return 'it is empty';
  if (/^(sha256:)?[0-9a-f]{64}$/.test(text)) return 'it is an image id, not a name';
  if (!DOMAIN_PATTERN.test(domain)) return `"${domain}" is not a registry host`;
  if (!PATH_PATTERN.test(path)) {
    return /[A-Z]/.test(path)
      ? 'the repository name must be in lower case'
      : `"${path}" is not a repository name`;
  }
  if (domain.length + 1 + path.length > MAX_NAME_LENGTH) {
    return `its name is longer than ${MAX_NAME_LENGTH} characters`;
  }
  if (tag !== undefined && !TAG_PATTERN.test(tag)) return `"${tag}" is not a tag`;
  if (digest !== undefined && !isDigest(digest)) return `"${digest}" is not a digest`;
  return undefined;
}

function badReference(text: string, reason: string): KeelsonError {
  const shown = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return new KeelsonError(
    'INVALID_ARGUMENT',
    `Cannot read image reference ${JSON.stringify(shown)}`,
    { reason: reason.length > 400 ? `${reason.slice(0, 400)}…` : reason },
  );
}
