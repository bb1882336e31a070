import { KeelsonError } from '../base/index.ts';
import type * as api from '../gen/nri/v1alpha1/api.ts';
import type { AdjustedContainer, ContainerProposal } from '../pods/index.ts';
import {
  adjustSpec,
  claimsOf,
  combine,
  type RuntimeAbility,
  refusal,
  withLimits,
} from './adjust/index.ts';
import { containerMessage, podMessage } from './messages.ts';
import { heed, type Plugins } from './plugins.ts';
import { createContainer, validateAdjustment } from './rpcs.ts';
import { Wishes } from './wishes.ts';

export interface Agreement {
  /** Undefined if nobody wants it different. */
  adjusted: AdjustedContainer | undefined;
  wishes: Wishes;
}

/**
 * Asks the plugins in turn what a new container is to be: each sees what those before it
 * have made of it. Then those that judge the outcome may reject it. Fails if one refuses,
 * if two contend, or if what one wants cannot be.
 */
export async function agreeOnContainer(
  plugins: Plugins,
  proposal: ContainerProposal,
  runtime: RuntimeAbility,
): Promise<Agreement> {
  const draft = new Draft(proposal, runtime);
  const before = draft.message();
  const consulted = plugins.members.map((plugin) => plugin.identity);
  const pod = podMessage(proposal.sandbox);
  await plugins.consult(
    createContainer,
    () => ({ pod, container: draft.message() }),
    (answer, { name }) => heed(name, () => draft.take(answer, name)),
  );
  await plugins.judge(
    validateAdjustment,
    { ...draft.outcome, pod, container: before, plugins: consulted },
    ({ reject, reason }, { name }) => {
      if (!reject) return;
      throw new KeelsonError('PERMISSION_DENIED', `NRI plugin "${name}" rejects the container`, {
        reason: reason || 'it gives no reason',
      });
    },
  );
  return { adjusted: draft.adjusted, wishes: draft.wishes };
}

/** A container as the plugins asked so far want it. */
class Draft {
  readonly wishes: Wishes;
  readonly #proposal: ContainerProposal;
  readonly #runtime: RuntimeAbility;
  readonly #updates: api.ContainerUpdate[] = [];
  #spec: ContainerProposal['spec'];
  #limits: AdjustedContainer['resources'] & ContainerProposal['container']['config']['resources'];
  readonly #cdiDevices: string[] = [];
  #adjustment: api.ContainerAdjustment | undefined;

  constructor(proposal: ContainerProposal, runtime: RuntimeAbility) {
    this.#proposal = proposal;
    this.#runtime = runtime;
    this.#spec = proposal.spec;
    this.#limits = proposal.container.config.resources;
    this.wishes = new Wishes({ id: proposal.container.id, limits: undefined });
  }

  get adjusted(): AdjustedContainer | undefined {
    if (this.#adjustment === undefined) return undefined;
    return { spec: this.#spec, resources: this.#limits, cdiDevices: this.#cdiDevices };
  }

  get outcome(): Pick<api.ValidateContainerAdjustmentRequest, 'adjust' | 'update' | 'owners'> {
    return {
      adjust: this.#adjustment,
      update: this.#updates,
      owners: this.wishes.owners.toMessage(),
    };
  }

  message(): api.Container {
    const { container } = this.#proposal;
    const config = { ...container.config, resources: this.#limits };
    return containerMessage({ ...container, config }, this.#spec);
  }

  take({ adjust, update, evict }: api.CreateContainerResponse, plugin: string): void {
    if (adjust !== undefined) this.#adjust(adjust, plugin);
    this.wishes.add(plugin, { update, evict });
    this.#updates.push(...update);
  }

  #adjust(adjust: api.ContainerAdjustment, plugin: string): void {
    this.wishes.owners.claim(this.#proposal.container.id, claimsOf(adjust), plugin);
    this.#spec = adjustSpec(this.#spec, adjust, this.#runtime);
    this.#cdiDevices.push(...adjust.CDIDevices.map(({ name }) => name));
    const { resources, oomScoreAdj } = adjust.linux ?? {};
    if (resources !== undefined) this.#limits = withLimits(this.#limits, resources);
    if (oomScoreAdj !== undefined) this.#adjustOomScore(Number(oomScoreAdj.value));
    const before = this.#adjustment;
    this.#adjustment = before === undefined ? adjust : combine(before, adjust);
  }

  #adjustOomScore(oomScoreAdj: number): void {
    if (oomScoreAdj < -1000 || oomScoreAdj > 1000) {
      throw refusal(`oom_score_adj ${oomScoreAdj}`, 'it is not between -1000 and 1000');
    }
    this.#limits = { ...this.#limits, oomScoreAdj };
    this.#spec = { ...this.#spec, process: { ...this.#spec.process, oomScoreAdj } };
  }
}
