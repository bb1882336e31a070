import { readFileSync } from 'node:fs';
import { parseNumber } from './cgroup-values.ts';
import { insideNamespace } from './namespaces.ts';

export interface InterfaceUsage {
  name: string;
  received: Traffic;
  transmitted: Traffic;
}

export interface Traffic {
  bytes: number;
  packets: number;
  errors: number;
  dropped: number;
}

/** The counters of the interfaces in a network namespace, without the loopback. */
export function readNetworkUsage(namespace: string): InterfaceUsage[] {
  return parseNetDev(
    insideNamespace('net', namespace, () => readFileSync('/proc/thread-self/net/dev', 'utf8')),
  );
}

/** proc_pid_net(5): after two lines of headings, `name: ` and 16 counters. */
export function parseNetDev(text: string): InterfaceUsage[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const [name, counters] = line.split(':');
      if (name === undefined || counters === undefined || name.trim() === 'lo') return [];
      const values = counters.trim().split(/\s+/).map(parseNumber);
      return {
        name: name.trim(),
        received: traffic(values),
        transmitted: traffic(values.slice(8)),
      };
    });
}

/** The first four of a direction's counters. */
function traffic([bytes = 0, packets = 0, errors = 0, dropped = 0]: (number | undefined)[]) {
  return { bytes, packets, errors, dropped };
}
