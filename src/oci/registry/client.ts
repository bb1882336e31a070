import type { Logger } from '../../base/index.ts';
import type { Reference } from '../spec/index.ts';
import { Tokens } from './authorization.ts';
import { Connections } from './connections.ts';
import { type CredentialSources, type Credentials, findLogin } from './credentials.ts';
import {
  findCandidates,
  findCredentialHelpers,
  findEndpoints,
  findLocalCandidates,
} from './endpoints.ts';
import { Repository } from './repository.ts';

export interface RegistryOptions {
  /** containerd's `certs.d` directory: mirrors, certificates, plain HTTP. */
  certsDir?: string;
  /** A `registries.conf` of version 2, with drop-ins beside it. */
  registriesConf?: string;
  /** Docker's or containers' files of credentials, tried in order. */
  authFiles?: readonly string[];
  /** Connections to one host at most. Default 8. */
  connectionsPerHost?: number;
  /** Milliseconds without a byte, or below 1 KiB/s, after which a transfer is broken off and resumed. Default 30,000. */
  stallTimeout?: number;
  /** Tries of a request before it is given up. Default 5. */
  attempts?: number;
  /** Milliseconds before the second try; each further wait is twice as long. Default 250. */
  backOff?: number;
}

/** An endpoint as a person wants to see it; secrets are left out. */
export interface EndpointExplanation {
  /** The reference that is asked for; short names may stand for several. */
  reference: Reference;
  url: string;
  repository: string;
  mirror: boolean;
  can: ('resolve' | 'pull')[];
  skipVerify: boolean;
  /** Where the endpoint was configured. */
  source: string;
  /** What proves who asks, and where it was found. */
  credentials: string;
}

/** A client of OCI distribution registries (distribution-spec 1.1). */
export class RegistryClient implements AsyncDisposable {
  readonly #options: RegistryOptions;
  readonly #logger: Logger;
  readonly #connections: Connections;
  readonly #tokens = new Tokens();

  constructor(options: RegistryOptions, logger: Logger) {
    this.#options = options;
    this.#logger = logger;
    this.#connections = new Connections({
      perHost: options.connectionsPerHost ?? 8,
      stallTimeout: options.stallTimeout ?? 30_000,
    });
  }

  /** The references that a name may stand for, to be tried in order. */
  candidates(name: string): Promise<Reference[]> {
    return findCandidates(name, this.#options);
  }

  /** The references under which an image that is here may be meant by a text; none if it is no name. */
  localCandidates(text: string): Promise<Reference[]> {
    return findLocalCandidates(text, this.#options);
  }

  /** Opens a repository with the configuration as it is now. */
  async open(reference: Reference, credentials: Credentials | undefined): Promise<Repository> {
    return new Repository({
      reference,
      endpoints: await findEndpoints(reference, this.#options, (text) =>
        this.#logger.warn({ domain: reference.domain }, text),
      ),
      credentials,
      sources: await this.#credentialSources(),
      connections: this.#connections,
      tokens: this.#tokens,
      logger: this.#logger,
      attempts: this.#options.attempts ?? 5,
      backOff: this.#options.backOff ?? 250,
    });
  }

  /** Which endpoints would be asked for a name, in which order, and why. Asks none of them. */
  async explain(
    name: string,
    credentials: Credentials | undefined,
    signal: AbortSignal,
  ): Promise<EndpointExplanation[]> {
    const explanations: EndpointExplanation[] = [];
    const sources = await this.#credentialSources();
    for (const reference of await this.candidates(name)) {
      for (const endpoint of await findEndpoints(reference, this.#options)) {
        const login = await findLogin(endpoint, credentials, sources, signal);
        explanations.push({
          reference,
          url: endpoint.url,
          repository: endpoint.repository,
          mirror: endpoint.isMirror,
          can: [
            ...(endpoint.canResolve ? (['resolve'] as const) : []),
            ...(endpoint.canPull ? (['pull'] as const) : []),
          ],
          skipVerify: endpoint.tls.skipVerify,
          source: endpoint.source,
          credentials: describeLogin(login),
        });
      }
    }
    return explanations;
  }

  async #credentialSources(): Promise<CredentialSources> {
    return {
      authFiles: this.#options.authFiles ?? [],
      helpers: await findCredentialHelpers(this.#options),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections[Symbol.asyncDispose]();
  }
}

function describeLogin(login: Awaited<ReturnType<typeof findLogin>>): string {
  switch (login.kind) {
    case 'anonymous':
      return `none (${login.source})`;
    case 'password':
      return `user "${login.username}" with a password from ${login.source}`;
    case 'identity':
      return `an identity token from ${login.source}`;
    case 'bearer':
      return `a bearer token from ${login.source}`;
  }
}
