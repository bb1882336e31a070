import { readFileSync } from 'node:fs';
import { insideNamespace } from './namespaces.ts';

export interface InterfaceUsage {
  name: string;
  rxBytes: number;
  rxErrors: number;
  txBytes: number;
  txErrors: number;
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
      const values = counters.trim().split(/\s+/).map(Number);
      return {
        name: name.trim(),
        rxBytes: values[0] ?? 0,
        rxErrors: values[2] ?? 0,
        txBytes: values[8] ?? 0,
        txErrors: values[10] ?? 0,
      };
    });
}
