import { expect, test } from 'vitest';
import { SILENT } from '../base/index.ts';
import type { ContainerRecord, ContainerResources, SandboxRecord } from '../pods/index.ts';
import { NriObserver } from './observer.ts';

test('without plugins no message is built, and nothing is read or waited for', async () => {
  // Whoever looked into these, or at pods, would fail.
  const observer = new NriObserver(SILENT);
  const sandbox = { id: 'p' } as SandboxRecord;
  const container = { id: 'c' } as ContainerRecord;
  const changes = {} as ContainerResources;
  const proposal = { sandbox, container, spec: {} } as never;
  await observer.sandboxStarting(sandbox);
  await observer.sandboxUpdating(sandbox, { resources: changes, overhead: undefined });
  await observer.sandboxUpdated(sandbox);
  expect(await observer.containerCreating(proposal)).toBeUndefined();
  await observer.containerCreated(container);
  await observer.containerStarting(container);
  await observer.containerStarted(container);
  expect(await observer.containerUpdating(container, changes)).toBe(changes);
  await observer.containerUpdated(container);
  await observer.containerUndone(container);
  await observer.containerStopped(container);
  await observer.containerRemoving(container);
  await observer.sandboxStopping(sandbox);
  await observer.sandboxRemoving(sandbox);
});
