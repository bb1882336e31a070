import { expect, test } from 'vitest';
import type { ContainerMeasurements } from '../../pods/index.ts';
import { containerFamilies } from './container-families.ts';

test('where the kernel keeps no peak of memory, what is in use stands for it', () => {
  const family = containerFamilies.find(({ name }) => name === 'container_memory_max_usage_bytes')!;
  const read = (memoryPeakBytes: number | undefined) =>
    family.read({
      sample: { usage: { memory: { usageBytes: 5 } } },
      details: { cgroup: { memoryPeakBytes } },
    } as unknown as ContainerMeasurements);
  expect(read(9)).toMatchObject([{ value: 9 }]);
  expect(read(undefined)).toMatchObject([{ value: 5 }]);
});
