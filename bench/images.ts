import { busyboxImage, pushImage } from '../test/fixtures/image.ts';
import type { RegistryFixture } from '../test/fixtures/registry.ts';

export interface BenchImages {
  busybox: string;
  /** What containerd runs to keep a sandbox's namespaces open. */
  pause: string;
}

/** Pushes the images that are measured with, and answers their references. */
export async function pushImages({ host, url }: RegistryFixture): Promise<BenchImages> {
  await pushImage({ url, repository: 'busybox' }, '1', busyboxImage());
  const pause = busyboxImage({ config: { Entrypoint: ['/bin/sleep', '1000000'], Cmd: [] } });
  await pushImage({ url, repository: 'pause' }, '1', pause);
  return { busybox: `${host}/busybox:1`, pause: `${host}/pause:1` };
}
