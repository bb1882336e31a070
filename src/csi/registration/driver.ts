import { KeelsonError, withTimeout } from '../../base/index.ts';
import {
  type ControllerCapability,
  CsiClient,
  type DriverDescription,
  describeDriver,
  type NodeCapability,
  type NodeDescription,
} from '../protocol/index.ts';

/** A driver that answers: what it can do, and the way to call it. */
export class Driver implements Disposable {
  /** Where its own service listens. */
  readonly endpoint: string;
  readonly client: CsiClient;
  readonly description: DriverDescription;

  constructor(endpoint: string, client: CsiClient, description: DriverDescription) {
    this.endpoint = endpoint;
    this.client = client;
    this.description = description;
  }

  get name(): string {
    return this.description.name;
  }

  /** Whether the Controller service says so. */
  can(capability: ControllerCapability): boolean {
    return this.description.controller.includes(capability);
  }

  /** Whether the Node service says so. */
  nodeCan(capability: NodeCapability): boolean {
    return this.description.node?.capabilities.includes(capability) ?? false;
  }

  /** What the driver says of this node; fails where it has no Node service. */
  get node(): NodeDescription {
    const { node } = this.description;
    if (node !== undefined) return node;
    throw new KeelsonError('FAILED_PRECONDITION', `Cannot use driver "${this.name}" here`, {
      reason: 'it serves no Node service at its socket',
    });
  }

  [Symbol.dispose](): void {
    this.client[Symbol.dispose]();
  }
}

export interface ConnectOptions {
  /** Milliseconds that one call of a driver may take. */
  callTimeout: number;
  signal: AbortSignal;
  /** What the driver said its name is, when it was asked for that elsewhere. */
  expectedName?: string;
}

/** Milliseconds for all questions that a driver is asked when it is connected. */
const INTRODUCTION = 120_000;

/**
 * Connects to a driver and asks who it is, whether it is ready and what it can do. Fails
 * with UNAVAILABLE while it is not ready.
 */
export async function connectDriver(endpoint: string, options: ConnectOptions): Promise<Driver> {
  const { callTimeout, expectedName } = options;
  const signal = withTimeout(options.signal, INTRODUCTION);
  const client = new CsiClient(endpoint, {
    timeout: callTimeout,
    ...(expectedName === undefined ? {} : { driver: expectedName }),
  });
  try {
    const description = await describeDriver(client, { signal, timeout: callTimeout });
    const action = `Cannot use driver "${description.name}" at "${endpoint}"`;
    if (expectedName !== undefined && description.name !== expectedName) {
      const reason = `it registered as "${expectedName}"`;
      throw new KeelsonError('FAILED_PRECONDITION', action, { reason });
    }
    if (!description.ready) {
      throw new KeelsonError('UNAVAILABLE', action, { reason: 'it says that it is not ready yet' });
    }
    return new Driver(endpoint, client, description);
  } catch (error) {
    client[Symbol.dispose]();
    throw error;
  }
}
