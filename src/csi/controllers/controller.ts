import type { Logger } from '../../base/index.ts';
import type { NodeIdentity } from '../objects/index.ts';
import type { Drivers } from '../registration/index.ts';
import type { SecretReader } from '../requests/index.ts';
import type { ObjectStore } from '../store/index.ts';
import type { Events } from './events.ts';
import type { BackOff } from './reconciler.ts';

/** What every controller works with. */
export interface ControllerParts {
  readonly store: ObjectStore;
  readonly events: Events;
  readonly logger: Logger;
  readonly backOff: BackOff;
  /** This node, with the labels of its topology as they are now. */
  node(): NodeIdentity;
}

/** And those that call drivers. */
export interface DriverControllerParts extends ControllerParts {
  readonly drivers: Drivers;
  readonly secrets: SecretReader;
  /** Keys of one controller that are worked on at the same time. */
  readonly workers: number;
}
