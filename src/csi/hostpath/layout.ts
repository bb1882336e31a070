import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The directory of the driver:
 *
 *     volumes/ID/    record.json, and `data` (a directory) or `image` (a file)
 *     snapshots/ID/  the same
 *     nodes/ID.json  where volume ID is staged and published
 *     new/           what is being made: it gets its place by one rename, when it is whole
 *     trash/         what is being removed: it has lost its place by one rename
 *     lock           held by the driver that works here
 *     programs.lock  held by each program that writes here
 */
export class Layout {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static async open(root: string): Promise<Layout> {
    await mkdir(root, { recursive: true, mode: 0o711 });
    // The kernel names files of loop devices by their real path.
    const layout = new Layout(await realpath(root));
    for (const name of ['volumes', 'snapshots', 'nodes', 'new', 'trash']) {
      await mkdir(join(layout.root, name), { recursive: true, mode: 0o711 });
    }
    return layout;
  }

  get lock(): string {
    return join(this.root, 'lock');
  }

  get programs(): { lock: string } {
    return { lock: join(this.root, 'programs.lock') };
  }

  place(kind: 'volumes' | 'snapshots' | 'new' | 'trash', id = ''): string {
    return join(this.root, kind, id);
  }

  /** What a volume of kind `directory` is. */
  data(id: string): string {
    return join(this.place('volumes', id), 'data');
  }

  /** What volumes of other kinds are in. */
  image(id: string): string {
    return join(this.place('volumes', id), 'image');
  }

  node(id = ''): string {
    return join(this.root, 'nodes', id === '' ? '' : `${id}.json`);
  }
}
