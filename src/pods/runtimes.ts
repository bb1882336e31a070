import { release } from 'node:os';
import { KeelsonError, NEVER } from '../base/index.ts';
import { checkpointProblem, OciRuntime, type OciRuntimeOptions } from '../oci/runtime/index.ts';

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
  readonly #checkpointProblems = new Map<OciRuntime, Promise<string | undefined>>();

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

  /** Why containers of a handler cannot be checkpointed and restored; undefined if they can. Asked once. */
  checkpointProblem(handler: string): Promise<string | undefined> {
    const runtime = this.get(handler);
    const known = this.#checkpointProblems.get(runtime);
    if (known !== undefined) return known;
    const asked = checkpointProblem(runtime);
    this.#checkpointProblems.set(runtime, asked);
    return asked;
  }

  async #ask(handler: string): Promise<HandlerFeatures> {
    const runtime = this.get(handler);
    const features = await runtime.features(NEVER);
    const known = features?.mountOptions ?? (await unsaidOptions(runtime));
    return {
      mountOptions: canSetRecursively(release()) ? known : withoutRecursive(known),
      ociVersion: features?.ociVersionMax,
    };
  }
}

/**
 * crun tells its features from 1.9 on, and knows recursive options from 1.4 on. Undefined
 * for a runtime of which nothing is known.
 */
async function unsaidOptions(runtime: OciRuntime): Promise<string[] | undefined> {
  if (runtime.type !== 'crun') return undefined;
  const line = await runtime.version(NEVER);
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(line) ?? [];
  return isAtLeast([major, minor], [1, 4]) ? ['rro'] : undefined;
}

/** mount_setattr(2), which recursive options need, is in Linux 5.12. */
function canSetRecursively(kernel: string): boolean {
  return isAtLeast(kernel.split('.'), [5, 12]);
}

function withoutRecursive(options: readonly string[] | undefined): string[] | undefined {
  return options?.filter((option) => option !== 'rro');
}

function isAtLeast(
  [major, minor]: readonly (string | undefined)[],
  [wantedMajor, wantedMinor]: readonly [number, number],
): boolean {
  const [first, second] = [Number(major), Number(minor)];
  return first > wantedMajor || (first === wantedMajor && second >= wantedMinor);
}
