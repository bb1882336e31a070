import { expect, test } from 'vitest';
import { parseNetDev } from './network-usage.ts';

const HEADINGS = 'Inter-|   Receive  |  Transmit\n face |bytes    packets errs drop |bytes\n';

test('each interface but the loopback has its counters in both directions', () => {
  const text = `${HEADINGS}    lo:    3569      36    0    0    0     0          0         0     3569      36    0    0    0     0       0          0
  eth0: 245717468    5685    1    2    0     0          0         0   446594    3643    3    4    0     0       0          0
`;
  expect(parseNetDev(text)).toEqual([
    {
      name: 'eth0',
      received: { bytes: 245717468, packets: 5685, errors: 1, dropped: 2 },
      transmitted: { bytes: 446594, packets: 3643, errors: 3, dropped: 4 },
    },
  ]);
});

test('nonsense counts for nothing', () => {
  expect(parseNetDev('')).toEqual([]);
  expect(parseNetDev(`${HEADINGS}eth0: x -1 1e9 99999999999999999999999\nno colon\n`)).toEqual([
    {
      name: 'eth0',
      received: { bytes: 0, packets: 0, errors: 0, dropped: 0 },
      transmitted: { bytes: 0, packets: 0, errors: 0, dropped: 0 },
    },
  ]);
});
