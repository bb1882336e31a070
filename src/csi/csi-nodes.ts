import { messageOf } from '../base/index.ts';
import type { NodeParts } from './node/index.ts';
import type { Manifest } from './objects/index.ts';

/** Keeps the CSINode object of this node: the drivers it has, and what they call it. */
export class CsiNodes implements AsyncDisposable {
  readonly #parts: NodeParts;
  readonly #watch: Disposable;
  #writing: Promise<void>;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#writing = this.#write();
    this.#watch = parts.drivers.onChange(() => {
      this.#writing = this.#writing.then(() => this.#write());
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watch[Symbol.dispose]();
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { store, drivers, logger } = this.#parts;
    const name = this.#parts.node().name;
    const spec: Manifest<'CSINode'>['spec'] = {
      drivers: drivers.list().flatMap(({ name: driver, description }) => {
        const { node } = description;
        if (node === undefined) return [];
        const count = Number(node.maxVolumes);
        return {
          name: driver,
          nodeID: node.nodeId,
          topologyKeys: Object.keys(node.topology),
          ...(count === 0 ? {} : { allocatable: { count } }),
        };
      }),
    };
    const ref = { kind: 'CSINode', name } as const;
    try {
      const changed = await store.changeIfThere(ref, (current) => ({ ...current, spec }));
      if (changed !== undefined) return;
      const head = { apiVersion: 'storage.k8s.io/v1', kind: 'CSINode' } as const;
      await store.create<'CSINode'>({ ...head, metadata: { name }, spec });
    } catch (error) {
      logger.error({ error }, `cannot write CSINode: ${messageOf(error)}`);
    }
  }
}
