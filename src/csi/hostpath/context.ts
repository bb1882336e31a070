import type { Logger } from '../../base/index.ts';
import type { Measuring } from '../../linux/index.ts';
import type { Layout } from './layout.ts';
import type { NodePlaces } from './node-places.ts';
import type { SnapshotRecord, VolumeRecord } from './records.ts';
import type { Store } from './store.ts';

/** What the calls of the driver work with. */
export interface HostPathContext {
  readonly layout: Layout;
  readonly volumes: Store<VolumeRecord>;
  readonly snapshots: Store<SnapshotRecord>;
  readonly places: NodePlaces;
  readonly measuring: Measuring;
  readonly nodeId: string;
  /** The key of the one topology segment that volumes here are in; its value is the node. */
  readonly topologyKey: string;
  readonly logger: Logger;
}
