import { MetricType } from '../../gen/runtime/v1/api.ts';
import type { ContainerMeasurements } from '../../pods/index.ts';
import type { Family, Reading } from './family.ts';

type Subject = ContainerMeasurements;
type Device = NonNullable<Subject['details']>['cgroup']['devices'][number];

/** Of the file system where the writable layers lie. */
function ofLayer(
  name: string,
  help: string,
  read: (subject: Subject) => number | undefined,
): Family<Subject> {
  return {
    ...{ name, help, type: MetricType.GAUGE, labels: ['device'] },
    read: (subject) => {
      const value = read(subject);
      const device = subject.fileSystem?.device;
      return value === undefined || device === undefined ? [] : [{ value, labels: [device] }];
    },
  };
}

/** Of each block device that the container read or wrote. */
function ofDevices(name: string, help: string, read: (device: Device) => number): Family<Subject> {
  return {
    ...{ name, help, type: MetricType.COUNTER, labels: ['device'] },
    read: (subject) =>
      (subject.details?.cgroup.devices ?? []).map((device) => ({
        value: read(device),
        labels: [pathOf(subject, device)],
      })),
  };
}

export const fileSystemFamilies: readonly Family<Subject>[] = [
  ofLayer(
    'container_fs_usage_bytes',
    'What the writable layer takes on the disk, in bytes.',
    ({ writableLayer }) => writableLayer?.usage.bytes,
  ),
  ofLayer(
    'container_fs_limit_bytes',
    'The size of the file system, in bytes.',
    ({ fileSystem }) => fileSystem?.sizeBytes,
  ),
  ofLayer(
    'container_fs_inodes_total',
    'Inodes of the file system.',
    ({ fileSystem }) => fileSystem?.inodes,
  ),
  ofLayer(
    'container_fs_inodes_free',
    'Free inodes of the file system.',
    ({ fileSystem }) => fileSystem?.freeInodes,
  ),
  ofDevices('container_fs_reads_bytes_total', 'Bytes read.', ({ readBytes }) => readBytes),
  ofDevices('container_fs_reads_total', 'Reads completed.', ({ reads }) => reads),
  ofDevices(
    'container_fs_writes_bytes_total',
    'Bytes written.',
    ({ writtenBytes }) => writtenBytes,
  ),
  ofDevices('container_fs_writes_total', 'Writes completed.', ({ writes }) => writes),
  {
    name: 'container_blkio_device_usage_total',
    help: 'Bytes read from and written to block devices.',
    type: MetricType.COUNTER,
    labels: ['device', 'major', 'minor', 'operation'],
    read: (subject) =>
      (subject.details?.cgroup.devices ?? []).flatMap((device): Reading[] => {
        const labels = [pathOf(subject, device), String(device.major), String(device.minor)];
        return [
          { value: device.readBytes, labels: [...labels, 'Read'] },
          { value: device.writtenBytes, labels: [...labels, 'Write'] },
        ];
      }),
  },
];

function pathOf({ details }: Subject, { major, minor }: Device): string {
  const number = `${major}:${minor}`;
  return details?.devicePaths.get(number) ?? number;
}
