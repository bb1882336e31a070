import { KeelsonError, type Logger, messageOf } from '../base/index.ts';
import type * as api from '../gen/nri/v1alpha1/api.ts';
import type {
  AdjustedContainer,
  ContainerProposal,
  ContainerRecord,
  ContainerResources,
  LifecycleObserver,
  Pods,
  SandboxChanges,
  SandboxRecord,
} from '../pods/index.ts';
import { limitsMessage, type RuntimeAbility } from './adjust/index.ts';
import { agreeOnContainer } from './create.ts';
import { containerMessage, podMessage } from './messages.ts';
import type { Plugin } from './plugin.ts';
import { heed, Plugins } from './plugins.ts';
import * as rpcs from './rpcs.ts';
import { snapshot, specOf } from './snapshot.ts';
import { Told } from './told.ts';
import { Wishes } from './wishes.ts';

type ContainerEvent = rpcs.EventRpc<
  { pod: api.PodSandbox | undefined; container: api.Container | undefined },
  unknown
>;

/** Passes what happens to pods on to plugins, and what plugins want on to pods. */
export class NriObserver implements LifecycleObserver, AsyncDisposable {
  readonly plugins: Plugins;
  readonly #logger: Logger;
  readonly #told = new Told();
  /** What is done while nobody waits for it. */
  readonly #background = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #opened: Pods | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
    this.plugins = new Plugins(logger);
  }

  /** Pods tell of themselves while they are being opened: then there is no plugin yet. */
  attach(pods: Pods): void {
    this.#opened = pods;
    for (const store of [pods.sandboxes, pods.containers]) {
      store.onChange(({ record, after }) => {
        if (after === undefined) this.#told.forget(record.id);
      });
    }
  }

  /** Lets a plugin that has said who it is take part. */
  async join(plugin: Plugin): Promise<void> {
    const update = await this.plugins.join(plugin, async () => {
      const present = await snapshot(this.#pods, this.#told);
      return plugin.synchronize(present.pods, present.containers);
    });
    await this.#grantLater(plugin, { update });
  }

  /** Ends what is done on behalf of plugins while nobody waits for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#background);
  }

  /** Changes limits because a plugin wants it; answers what could not be done. */
  async updateContainers(
    plugin: Plugin,
    { update, evict }: api.UpdateContainersRequest,
  ): Promise<api.UpdateContainersResponse> {
    if (!this.plugins.includes(plugin)) {
      throw new KeelsonError('FAILED_PRECONDITION', 'Cannot update containers', {
        reason: `NRI plugin "${plugin.name}" was not synchronized yet`,
      });
    }
    const failed: api.ContainerUpdate[] = [];
    for (const each of update) {
      const wishes = new Wishes();
      try {
        this.#pods.containers.get(each.containerId);
        wishes.add(plugin.name, { update: [{ ...each, ignoreFailure: false }] });
        await wishes.update(this.#pods, this.#logger);
      } catch (error) {
        const fields = { plugin: plugin.name, containerId: each.containerId, error };
        this.#logger.warn(fields, `an NRI update failed: ${messageOf(error)}`);
        failed.push(each);
      }
    }
    void this.#grantLater(plugin, { update: [], evict });
    return { failed };
  }

  async sandboxStarting(sandbox: SandboxRecord): Promise<void> {
    const request = () => ({ pod: podMessage(sandbox) });
    await this.plugins.inTurn(
      () => this.#begin(sandbox.id),
      () => this.plugins.consult(rpcs.runPodSandbox, request),
    );
  }

  async sandboxUpdating(sandbox: SandboxRecord, changes: SandboxChanges): Promise<void> {
    const { resources, overhead } = changes;
    const request = () => ({
      pod: podMessage(sandbox),
      linuxResources: resources && limitsMessage(resources),
      overheadLinuxResources: overhead && limitsMessage(overhead),
    });
    await this.plugins.inTurn(always, () => this.plugins.consult(rpcs.updatePodSandbox, request));
  }

  async sandboxUpdated(sandbox: SandboxRecord): Promise<void> {
    await this.plugins.inTurn(always, () =>
      this.plugins.inform(rpcs.postUpdatePodSandbox, { pod: podMessage(sandbox) }),
    );
  }

  async sandboxStopping(sandbox: SandboxRecord): Promise<void> {
    await this.plugins.inTurn(
      () => this.#told.stop(sandbox.id),
      () => this.plugins.inform(rpcs.stopPodSandbox, { pod: podMessage(sandbox) }),
    );
  }

  async sandboxRemoving(sandbox: SandboxRecord): Promise<void> {
    await this.plugins.inTurn(
      () => this.#told.end(sandbox.id),
      () => this.plugins.inform(rpcs.removePodSandbox, { pod: podMessage(sandbox) }),
    );
  }

  async containerCreating(proposal: ContainerProposal): Promise<AdjustedContainer | undefined> {
    const { id, handler } = proposal.container;
    const agreement = await this.plugins.inTurn(
      () => this.#begin(id),
      async () => agreeOnContainer(this.plugins, proposal, await abilityOf(this.#pods, handler)),
    );
    await this.#grant(agreement?.wishes);
    return agreement?.adjusted;
  }

  async containerCreated(container: ContainerRecord): Promise<void> {
    await this.#inform(rpcs.postCreateContainer, container);
  }

  async containerUndone(container: ContainerRecord): Promise<void> {
    if (!this.#told.hasBegun(container.id)) return;
    await this.containerStopped(container);
    await this.containerRemoving(container);
  }

  async containerStarting(container: ContainerRecord): Promise<void> {
    await this.plugins.inTurn(always, async () => {
      if (!this.plugins.wants(rpcs.startContainer)) return;
      const request = await this.#subject(container);
      await this.plugins.consult(rpcs.startContainer, () => request);
    });
  }

  async containerStarted(container: ContainerRecord): Promise<void> {
    await this.#inform(rpcs.postStartContainer, container);
  }

  async containerUpdating(
    container: ContainerRecord,
    changes: ContainerResources,
  ): Promise<ContainerResources> {
    const wishes = await this.plugins.inTurn(always, async () => {
      if (!this.plugins.wants(rpcs.updateContainer)) return undefined;
      const asked = new Wishes({ id: container.id, limits: changes });
      const subject = await this.#subject(container);
      await this.plugins.consult(
        rpcs.updateContainer,
        () => ({ ...subject, linuxResources: limitsMessage(asked.limits ?? changes) }),
        (answer, { name }) => heed(name, () => asked.add(name, answer)),
      );
      return asked;
    });
    await this.#grant(wishes);
    return wishes?.limits ?? changes;
  }

  async containerUpdated(container: ContainerRecord): Promise<void> {
    await this.#inform(rpcs.postUpdateContainer, container);
  }

  async containerStopped(container: ContainerRecord): Promise<void> {
    await this.plugins.inTurn(
      () => this.#told.stop(container.id),
      async () => {
        if (!this.plugins.wants(rpcs.stopContainer)) return;
        const request = await this.#subject(container);
        await this.plugins.inform(rpcs.stopContainer, request, ({ update }, plugin) => {
          // The container may be locked, and another's update wait for it.
          void this.#grantLater(plugin, { update });
        });
      },
    );
  }

  async containerRemoving(container: ContainerRecord): Promise<void> {
    await this.#inform(rpcs.removeContainer, container, () => this.#told.end(container.id));
  }

  get #pods(): Pods {
    if (this.#opened !== undefined) return this.#opened;
    throw new KeelsonError('INTERNAL', 'A plugin takes part before pods are open');
  }

  #begin(id: string): boolean {
    this.#told.begin(id);
    return true;
  }

  async #inform(
    rpc: ContainerEvent,
    container: ContainerRecord,
    mark: () => boolean = always,
  ): Promise<void> {
    await this.plugins.inTurn(mark, async () => {
      if (!this.plugins.wants(rpc)) return;
      await this.plugins.inform(rpc, await this.#subject(container));
    });
  }

  async #subject(container: ContainerRecord) {
    const sandbox = this.#pods.sandboxes.find(container.sandboxId);
    return {
      pod: sandbox && podMessage(sandbox),
      container: containerMessage(container, await specOf(this.#pods, container)),
    };
  }

  /** Fails if an update does; evictions go on by themselves. */
  async #grant(wishes: Wishes | undefined): Promise<void> {
    if (wishes === undefined) return;
    void this.#inBackground(wishes.evict(this.#pods, this.#logger, this.#abort.signal));
    await wishes.update(this.#pods, this.#logger);
  }

  /** What no operation depends on: failures are logged. */
  #grantLater(
    { name }: Plugin,
    asked: { update: api.ContainerUpdate[]; evict?: api.ContainerEviction[] },
  ): Promise<void> {
    const grant = async () => {
      try {
        const wishes = new Wishes();
        wishes.add(name, asked);
        await this.#grant(wishes);
      } catch (error) {
        const fields = { plugin: name, error };
        this.#logger.error(fields, `cannot do what an NRI plugin wants: ${messageOf(error)}`);
      }
    };
    return this.#inBackground(grant());
  }

  async #inBackground(work: Promise<void>): Promise<void> {
    this.#background.add(work);
    try {
      await work;
    } finally {
      this.#background.delete(work);
    }
  }
}

async function abilityOf({ runtimes }: Pods, handler: string): Promise<RuntimeAbility> {
  const { ociVersion } = await runtimes.features(handler);
  return { ociVersion, hasOwnKernel: runtimes.get(handler).needsSandbox };
}

function always(): boolean {
  return true;
}
