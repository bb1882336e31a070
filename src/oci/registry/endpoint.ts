/** What a TLS connection is made with. Certificates and keys are PEM texts. */
export interface TlsSettings {
  /** Trusted beside the system's authorities. */
  ca: string[];
  clients: { cert: string; key: string }[];
  skipVerify: boolean;
}

/** A place where a repository may be asked for: a mirror, or the registry itself. */
export interface Endpoint {
  /** The root of the distribution API without a final slash: `https://host:5000/v2`. */
  readonly url: string;
  /** Host and port whose credentials are used. */
  readonly host: string;
  /** The repository's path here; mirrors may keep it elsewhere. */
  readonly repository: string;
  /** The registry that the endpoint stands in for, sent to mirrors as `ns`. */
  readonly namespace: string | undefined;
  /** Whether it may say which digest a tag has now. */
  readonly canResolve: boolean;
  /** Whether content may be fetched by digest. */
  readonly canPull: boolean;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly tls: TlsSettings;
  /** Milliseconds to connect. */
  readonly connectTimeout: number;
  /** Where this endpoint was configured, for people. */
  readonly source: string;
  readonly isMirror: boolean;
}

export const CONNECT_TIMEOUT = 30_000;

export const NO_TLS_SETTINGS: TlsSettings = { ca: [], clients: [], skipVerify: false };

/** The host that serves a registry's API: Docker Hub's has another name than its images. */
export function apiHost(domain: string): string {
  return domain === 'docker.io' ? 'registry-1.docker.io' : domain;
}

/** Whether a host is this machine: there is nobody between to read or change what is sent. */
export function isLoopback(host: string): boolean {
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase();
  return name === 'localhost' || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name);
}

/** Plain HTTP is for this machine, unless the port says otherwise; all else speaks TLS. */
export function defaultScheme(host: string): 'http' | 'https' {
  return isLoopback(host) && !host.endsWith(':443') ? 'http' : 'https';
}
