import { KeelsonError } from '../../base/index.ts';

/** Limits of a pod's traffic as the `bandwidth` capability has them. Rates in bit/s, bursts in bit. */
export interface Bandwidth {
  ingressRate?: number;
  ingressBurst?: number;
  egressRate?: number;
  egressBurst?: number;
}

/** As large as the plugin's field allows: the rate alone limits. */
const BURST = 0xffffffff;

/** Rates that Kubernetes accepts, in bit/s. */
const SMALLEST = 1e3;
const LARGEST = 1e15;

/** The limits that a pod's annotations ask for. Throws INVALID_ARGUMENT for a value that is no sensible rate. */
export function bandwidthOf(annotations: Readonly<Record<string, string>>): Bandwidth | undefined {
  const ingress = rateOf(annotations, 'kubernetes.io/ingress-bandwidth');
  const egress = rateOf(annotations, 'kubernetes.io/egress-bandwidth');
  if (ingress === undefined && egress === undefined) return undefined;
  return {
    ...(ingress === undefined ? {} : { ingressRate: ingress, ingressBurst: BURST }),
    ...(egress === undefined ? {} : { egressRate: egress, egressBurst: BURST }),
  };
}

function rateOf(annotations: Readonly<Record<string, string>>, key: string): number | undefined {
  const text = Object.hasOwn(annotations, key) ? annotations[key] : undefined;
  if (text === undefined) return undefined;
  const rate = parseQuantity(text);
  if (rate !== undefined && rate >= SMALLEST && rate <= LARGEST) return rate;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot limit bandwidth to "${text.slice(0, 50)}"`, {
    reason: `annotation "${key}" must be a quantity from 1k to 1P`,
  });
}

const SUFFIXES: Record<string, number> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** A quantity of the Kubernetes API (`10M`, `1.5Gi`, `1e6`), rounded up to a whole number. */
export function parseQuantity(text: string): number | undefined {
  const match = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2}|[A-Za-z]{0,2})$/.exec(text);
  if (match === null) return undefined;
  const [, , suffix = ''] = match;
  const isExponent = /^[eE][+-]?\d/.test(suffix);
  const factor = isExponent ? 10 ** Number(suffix.slice(1)) : SUFFIXES[suffix];
  if (factor === undefined) return undefined;
  const value = Number(text.slice(0, text.length - suffix.length)) * factor;
  // 15 digits are what a double holds: 1.1G is not 1100000000.0000002.
  return Math.ceil(Number(value.toPrecision(15)));
}
