import { lockFile, thaw } from '../../linux/index.ts';
import type { HostPathContext } from './context.ts';
import type { Layout } from './layout.ts';
import { releaseDevices } from './mount-volume.ts';

/** Milliseconds that a program is waited for. A copy of much data may take longer: then the start is tried again. */
const PATIENCE = 60_000;

/**
 * Waits for programs that a driver was killed over: they still write. Each holds a shared
 * lock.
 */
export async function awaitPrograms(layout: Layout): Promise<void> {
  const { lock } = layout.programs;
  await using _held = await lockFile(lock, 'exclusive', AbortSignal.timeout(PATIENCE));
}

/** What a driver that was killed left of volumes in use: a freeze, devices, records of nothing. */
export async function repairNode(context: HostPathContext): Promise<void> {
  const { volumes, places } = context;
  for (const volume of volumes.list()) {
    const { staged, published } = await places.live(volume);
    const path = staged?.path ?? published[0]?.path;
    if (volume.kind === 'filesystem' && path !== undefined) await thaw(path);
    if (volume.kind === 'block') await releaseDevices(context, volume, staged !== undefined);
  }
  for (const id of places.ids()) {
    if (volumes.get(id) === undefined) await places.forget(id);
  }
}
