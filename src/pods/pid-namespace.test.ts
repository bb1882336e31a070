import { describe, expect, test } from 'vitest';
import { identifyProcess, type ProcessId } from '../linux/index.ts';
import type { NamespaceMode, NamespaceModes } from './config.ts';
import { pidNamespacePath } from './pid-namespace.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord, ContainerState, SandboxRecord } from './records.ts';

const sandbox = (pid?: string) =>
  ({ id: 'pod', namespaces: pid === undefined ? {} : { pid } }) as SandboxRecord;
const modes = (pid: NamespaceMode) =>
  ({
    network: 'pod',
    ipc: 'pod',
    pid,
    targetId: 'target',
    user: undefined,
  }) satisfies NamespaceModes;

function podsWith(container: Partial<ContainerRecord> | undefined): Pods {
  return { containers: { find: () => container } } as unknown as Pods;
}

test('may be the host’s or one of its own', () => {
  expect(pidNamespacePath(podsWith(undefined), modes('node'), sandbox())).toBe('host');
  expect(pidNamespacePath(podsWith(undefined), modes('container'), sandbox())).toBe('new');
});

describe('that of the pod', () => {
  test('is joined where it is pinned', () => {
    const path = pidNamespacePath(podsWith(undefined), modes('pod'), sandbox('/ns/pid'));
    expect(path).toBe('/ns/pid');
  });

  test('cannot be shared unless the sandbox was made so', () => {
    expect(() => pidNamespacePath(podsWith(undefined), modes('pod'), sandbox())).toThrow(
      'the sandbox was not made with PID mode POD',
    );
  });
});

describe('that of another container', () => {
  const self = identifyProcess(process.pid)!;
  const join = (container: Partial<ContainerRecord> | undefined) =>
    pidNamespacePath(podsWith(container), modes('target'), sandbox());
  const running = (process: ProcessId): ContainerState => ({
    phase: 'running',
    startedAt: '0',
    process,
  });

  test('is that of its first process', () => {
    const path = join({ sandboxId: 'pod', state: running(self) });
    expect(path).toBe(`/proc/${process.pid}/ns/pid`);
  });

  test('cannot be that of another pod, or of nobody', () => {
    const state = running(self);
    expect(() => join({ sandboxId: 'other', state })).toThrow('the pod has no such container');
    expect(() => join(undefined)).toThrow('the pod has no such container');
  });

  test('is refused when the container does not run', () => {
    const state: ContainerState = { phase: 'created', process: self };
    expect(() => join({ sandboxId: 'pod', state })).toThrow('it is not running');
  });

  test('is not that of a process that came to the number later', () => {
    const gone = { ...self, startTime: self.startTime - 1 };
    expect(() => join({ sandboxId: 'pod', state: running(gone) })).toThrow('it is not running');
  });
});
