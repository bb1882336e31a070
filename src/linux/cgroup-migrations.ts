import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CgroupLayout } from './cgroups.ts';

/**
 * Makes containers start sooner. Whoever moves a process into a cgroup waits for the kernel to
 * switch a lock of all forks and exits to its exclusive mode (`cgroup_threadgroup_rwsem`): an
 * RCU grace period of 10 to 15 ms, unless somebody has waited for it less than about 15 ms
 * ago. Waiting for it here, while the OCI runtime is still being started, lets both times pass
 * at once.
 */
export class CgroupMigrations implements AsyncDisposable {
  readonly #file: FileHandle | undefined;
  #waiting = false;

  private constructor(file: FileHandle | undefined) {
    this.#file = file;
  }

  /** `cgroup`: the text of `/proc/self/cgroup`. Without a file to write to, nothing is hastened. */
  static async open(layout: CgroupLayout, cgroup?: string): Promise<CgroupMigrations> {
    const text = cgroup ?? (await readFile('/proc/self/cgroup', 'utf8'));
    for (const line of text.trim().split('\n')) {
      const [, controllers = '', ...path] = line.split(':');
      const tree = [...layout.mountpoints].find(([name]) => controllers.split(',').includes(name));
      if (tree === undefined) continue;
      const own = join(tree[1], path.join(':'), 'cgroup.procs');
      const file = await open(own, 'r+').catch(() => undefined);
      if (file !== undefined) return new CgroupMigrations(file);
    }
    return new CgroupMigrations(undefined);
  }

  /** A process is about to be moved. Moves this one to where it is already, and does not wait. */
  expect(): void {
    if (this.#waiting || this.#file === undefined) return;
    this.#waiting = true;
    // What it answers is of no interest: the time it takes is.
    void this.#file
      .write(String(process.pid), 0)
      .catch(() => {})
      .finally(() => {
        this.#waiting = false;
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.close();
  }
}
