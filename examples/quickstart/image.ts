import { randomBytes } from 'node:crypto';
import { busyboxImage, pushImage } from '../../test/fixtures/image.ts';
import type { RegistryFixture } from '../../test/fixtures/registry.ts';

/** Where the web server of the image listens. */
export const PORT = 8080;

const PAGE = 'This page was served by a pod that Keelson runs.\n';

/**
 * Pushes an image with busybox's web server and answers its reference. A second layer of
 * random bytes gives the progress bar something to show.
 */
export async function pushWebServer({ host, url }: RegistryFixture): Promise<string> {
  const image = busyboxImage({
    config: { Cmd: ['httpd', '-f', '-vv', '-p', String(PORT), '-h', '/srv'] },
    files: [
      { path: 'srv/', type: 'directory' },
      { path: 'srv/index.html', content: PAGE },
      { path: 'srv/ballast', content: randomBytes(24 << 20) },
    ],
  });
  await pushImage({ url, repository: 'web' }, '1', image);
  return `${host}/web:1`;
}
