import { codeOf, type Logger, messageOf, NEVER, withTimeout } from '../base/index.ts';
import type { ContainerEviction, ContainerUpdate } from '../gen/nri/v1alpha1/api.ts';
import {
  type ContainerResources,
  changeLimits,
  NO_RESOURCES,
  type Pods,
  stopContainer,
} from '../pods/index.ts';
import { Owners, refusal, resourceClaims, withLimits } from './adjust/index.ts';

/** How long the limits of one container may take to change, in milliseconds. */
const CHANGE_DEADLINE = 10_000;

interface Update {
  limits: ContainerResources;
  /** Whether it may fail without the request failing. */
  optional: boolean;
}

/** What plugins want of other containers, in their answers to one request. */
export class Wishes {
  readonly owners = new Owners();
  /** The container that the request is about. Its limits are changed in another way. */
  readonly #subject: { id: string; limits: ContainerResources | undefined } | undefined;
  readonly #updates = new Map<string, Update>();
  readonly #evictions: (ContainerEviction & { plugin: string })[] = [];

  /** `limits` are those that the subject shall have; undefined while it cannot be updated. */
  constructor(subject?: { id: string; limits: ContainerResources | undefined }) {
    this.#subject = subject && { ...subject };
  }

  /** What the plugins made of the limits of the subject. */
  get limits(): ContainerResources | undefined {
    return this.#subject?.limits;
  }

  /** Fails if two plugins contend, or if what is wanted cannot be. */
  add(
    plugin: string,
    { update, evict = [] }: { update: ContainerUpdate[]; evict?: ContainerEviction[] },
  ): void {
    for (const each of update) {
      try {
        this.#addUpdate(plugin, each);
      } catch (error) {
        if (!each.ignoreFailure) throw error;
      }
    }
    for (const each of evict) {
      if (each.containerId === this.#subject?.id) {
        throw refusal('an eviction', 'the request is about this very container');
      }
      this.#evictions.push({ ...each, plugin });
    }
  }

  #addUpdate(plugin: string, { containerId: id, linux, ignoreFailure }: ContainerUpdate): void {
    const resources = linux?.resources;
    if (resources === undefined) return;
    if (id === this.#subject?.id) {
      if (this.#subject.limits === undefined) {
        throw refusal('other limits by an update', 'it is not there yet: adjust it');
      }
      const limits = withLimits(this.#subject.limits, resources);
      this.owners.claim(id, resourceClaims(resources), plugin);
      this.#subject.limits = limits;
      return;
    }
    const before = this.#updates.get(id) ?? { limits: NO_RESOURCES, optional: true };
    const limits = withLimits(before.limits, resources);
    this.owners.claim(id, resourceClaims(resources), plugin);
    this.#updates.set(id, { limits, optional: before.optional && ignoreFailure });
  }

  /**
   * Does the updates. One that fails makes this fail, after the others have been done,
   * unless it is optional; containers that are gone are left out.
   */
  async update(pods: Pods, logger: Logger): Promise<void> {
    const failures: unknown[] = [];
    for (const [id, { limits, optional }] of this.#updates) {
      try {
        await changeLimits(pods, id, limits, withTimeout(NEVER, CHANGE_DEADLINE));
      } catch (error) {
        if (optional || codeOf(error) === 'NOT_FOUND') {
          logger.warn({ containerId: id, error }, `an NRI update failed: ${messageOf(error)}`);
        } else {
          failures.push(error);
        }
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Kills the containers that are to go. What fails is logged. */
  async evict(pods: Pods, logger: Logger, signal: AbortSignal): Promise<void> {
    await Promise.all(
      this.#evictions.map(async ({ containerId, reason, plugin }) => {
        const fields = { containerId, plugin };
        logger.warn({ ...fields, reason }, 'an NRI plugin evicts a container');
        try {
          await stopContainer(pods, containerId, 0, signal);
        } catch (error) {
          logger.error({ ...fields, error }, `cannot evict a container: ${messageOf(error)}`);
        }
      }),
    );
  }
}
