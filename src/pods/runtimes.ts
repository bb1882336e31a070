import { KeelsonError, NEVER } from '../base/index.ts';
import { OciRuntime, type OciRuntimeOptions } from '../oci/runtime/index.ts';

/** What a runtime handler can do. */
export interface HandlerFeatures {
  /** Mount options that the runtime knows; undefined when it does not say. */
  mountOptions: readonly string[] | undefined;
  /** The newest version of the runtime specification that it knows; undefined when it does not say. */
  ociVersion: string | undefined;
}

/** The runtime handlers of this node, by name. '' is the default one. */
export class Runtimes {
  readonly defaultHandler: string;
  readonly #runtimes: ReadonlyMap<string, OciRuntime>;
  readonly #features = new Map<string, Promise<HandlerFeatures>>();

  constructor(defaultHandler: string, runtimes: readonly OciRuntimeOptions[]) {
    this.defaultHandler = defaultHandler;
    this.#runtimes = new Map(runtimes.map((options) => [options.handler, new OciRuntime(options)]));
    this.get('');
  }

  /** Fails with INVALID_ARGUMENT for a handler that is not configured. */
  get(handler: string): OciRuntime {
    const runtime = this.find(handler);
    if (runtime !== undefined) return runtime;
    throw new KeelsonError('INVALID_ARGUMENT', `There is no runtime handler "${handler}"`, {
      hint: `configured are ${[...this.#runtimes.keys()].join(', ')}`,
    });
  }

  /** Undefined for a handler that is not configured, which pods of an earlier time may have. */
  find(handler: string): OciRuntime | undefined {
    return this.#runtimes.get(handler === '' ? this.defaultHandler : handler);
  }

  list(): OciRuntime[] {
    return [...this.#runtimes.values()];
  }

  /** Asked of the program once. */
  features(handler: string): Promise<HandlerFeatures> {
    const known = this.#features.get(handler);
    if (known !== undefined) return known;
    const asked = this.#ask(handler);
    this.#features.set(handler, asked);
    return asked;
  }

  async #ask(handler: string): Promise<HandlerFeatures> {
    const features = await this.get(handler).features(NEVER);
    return { mountOptions: features?.mountOptions, ociVersion: features?.ociVersionMax };
  }
}
