/** What stands where a secret stood. */
export const STRIPPED = '***stripped***';

/** Fields that `csi.proto` marks as `csi_secret`: the one of this name in each request. */
const SECRET_FIELD = 'secrets';

/** Keys of `volume_context` whose values are credentials all the same: tokens that a kubelet hands over. */
const SECRET_KEYS = new Set(['csi.storage.k8s.io/serviceAccount.tokens']);

/**
 * A message for logs: values of secrets are gone, their keys stay. Mount options "may
 * contain sensitive information" (CSI specification, VolumeCapability) and go, too.
 */
export function withoutSecrets(message: object): object {
  return JSON.parse(
    JSON.stringify(message, function (this: unknown, key: string, value: unknown) {
      if (typeof value === 'bigint') return value.toString();
      if (key === SECRET_FIELD && isRecord(value)) {
        return Object.fromEntries(Object.keys(value).map((name) => [name, STRIPPED]));
      }
      if (key === 'mountFlags' && Array.isArray(value)) return value.map(() => STRIPPED);
      return SECRET_KEYS.has(key) ? STRIPPED : value;
    }),
  ) as object;
}

/** The text without any secret that the request holds: a driver may repeat one in its message. */
export function redact(text: string, request: object): string {
  let clean = text;
  for (const secret of secretsOf(request)) clean = clean.replaceAll(secret, STRIPPED);
  return clean;
}

/** Longest first, so that a secret which is a part of another leaves nothing of it. */
function secretsOf(request: object): string[] {
  const found = new Set<string>();
  for (const [field, value] of Object.entries(request)) {
    if (!isRecord(value)) continue;
    for (const [key, each] of Object.entries(value)) {
      if (field !== SECRET_FIELD && !SECRET_KEYS.has(key)) continue;
      if (typeof each !== 'string') continue;
      found.add(each);
      found.add(JSON.stringify(each).slice(1, -1));
    }
  }
  found.delete('');
  return [...found].sort((a, b) => b.length - a.length);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
