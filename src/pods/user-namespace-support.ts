import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KeelsonError, messageOf } from '../base/index.ts';
import { createUserNamespace } from '../linux/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import { mapDirectories, removeMountsBelow } from './mapped-mounts.ts';

interface Directories {
  /** Where what it takes to find out is put. */
  stateDirectory: string;
  /** Where images and containers are stored. */
  rootDirectory: string;
}

/** Any ids will do to find out. */
const IDS = { containerId: 0, hostId: 65_536, length: 65_536 };

/**
 * Whether this host can give pods ids of their own: its kernel must let a user namespace be
 * made, and map the owners of files where images and containers are stored. Found out by
 * doing both, when it is first asked; that it cannot is looked at again, for an
 * administrator may have changed it.
 */
export class UserNamespaceSupport {
  readonly #settings: Directories;
  #found: Promise<string | undefined> | undefined;

  constructor(settings: Directories) {
    this.#settings = settings;
  }

  /** Takes away what an interrupted look may have left. */
  async clean(): Promise<void> {
    await removeMountsBelow(this.#place);
  }

  /** Why pods of a runtime cannot have them; undefined if they can. */
  async problem(runtime: Pick<OciRuntime, 'type' | 'handler'>): Promise<string | undefined> {
    // gVisor has a kernel of its own, which knows nothing of the host's owners.
    if (runtime.type === 'runsc') return `runtime handler "${runtime.handler}" has none`;
    this.#found ??= this.#look();
    const problem = await this.#found;
    if (problem !== undefined) this.#found = undefined;
    return problem;
  }

  /** Fails with FAILED_PRECONDITION where a pod cannot have one. */
  async demand(runtime: Pick<OciRuntime, 'type' | 'handler'>): Promise<void> {
    const reason = await this.problem(runtime);
    if (reason === undefined) return;
    throw new KeelsonError('FAILED_PRECONDITION', 'Cannot give a pod a user namespace', {
      reason,
      hint: 'Status reports it as runtime_handlers[].features.user_namespaces',
    });
  }

  get #place(): string {
    return join(this.#settings.stateDirectory, 'user-namespace-probe');
  }

  async #look(): Promise<string | undefined> {
    try {
      await this.clean();
      await mkdir(this.#place, { mode: 0o700 });
      const path = join(this.#place, 'namespace');
      await createUserNamespace({ uids: IDS, gids: IDS, path, owned: {} });
      mapDirectories([this.#settings.rootDirectory], join(this.#place, 'mapped'), path);
      return undefined;
    } catch (error) {
      return messageOf(error);
    } finally {
      await this.clean();
    }
  }
}
