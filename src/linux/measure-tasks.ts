import { type DescriptorUsage, descriptorUsage } from './descriptor-usage.ts';
import { type DirectoryUsage, directoryUsage } from './directory-usage.ts';

/** What is measured by looking at one thing after the other. */
export type MeasureTask =
  | { kind: 'directory'; path: string }
  | { kind: 'descriptors'; pids: readonly number[] };

export type Measured = DirectoryUsage | DescriptorUsage | undefined;

/** Measures. With a `limit`, answers `beyond` if there are more things than that. */
export async function measure(task: MeasureTask, limit?: number): Promise<Measured | 'beyond'> {
  return task.kind === 'directory'
    ? directoryUsage(task.path, limit)
    : ((await descriptorUsage(task.pids, limit)) ?? 'beyond');
}
