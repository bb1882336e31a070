import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createPinnedNamespace,
  removePinnedNamespace,
  setLoopbackUp,
} from '../../src/linux/index.ts';
import { output } from '../harness/programs.ts';

const PROGRAMS = '/usr/lib/cni';

/**
 * A network namespace that plays the host: Debian's plugins in `bin` run in it, so that
 * their bridges, rules and routes are not the machine's and vanish with it. Pods'
 * namespaces are made beside it.
 */
export class HostNetwork implements AsyncDisposable {
  readonly directory: string;
  readonly bin: string;
  readonly host: string;
  readonly #namespaces: string[] = [];

  private constructor(directory: string) {
    this.directory = directory;
    this.bin = join(directory, 'bin');
    this.host = join(directory, 'host');
  }

  static async create(): Promise<HostNetwork> {
    const network = new HostNetwork(await mkdtemp(join(tmpdir(), 'keelson-cni-')));
    network.#pin(network.host);
    await mkdir(network.bin);
    for (const type of await readdir(PROGRAMS)) {
      const program = join(network.bin, type);
      await writeFile(
        program,
        `#!/bin/sh\nexec nsenter --net=${network.host} ${PROGRAMS}/${type}\n`,
      );
      await chmod(program, 0o755);
    }
    return network;
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  /** Makes a pod's namespace with `lo` up, and answers its path. */
  createPod(name: string): string {
    const path = this.path(`pod-${name}`);
    this.#pin(path);
    return path;
  }

  async removePod(path: string): Promise<void> {
    await removePinnedNamespace(path);
  }

  /** Runs a program in the host's namespace. */
  onHost(program: string, ...args: string[]): Promise<string> {
    return this.inside(this.host, program, ...args);
  }

  inside(namespace: string, program: string, ...args: string[]): Promise<string> {
    return output('nsenter', `--net=${namespace}`, program, ...args);
  }

  /**
   * Serves TCP connections in a namespace: whoever comes is told `text`. Answers when the
   * server listens.
   */
  async serve(namespace: string, port: number, text: string): Promise<Disposable> {
    const script = `require('net').createServer((s) => s.end(${JSON.stringify(text)})).listen(${port}, '0.0.0.0', () => console.log('listening'))`;
    const args = [`--net=${namespace}`, process.execPath, '-e', script];
    const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return { [Symbol.dispose]: () => void child.kill('SIGKILL') };
  }

  /** What the server at an address says to a client in a namespace. */
  fetch(namespace: string, host: string, port: number): Promise<string> {
    const script = `require('net').connect(${port}, ${JSON.stringify(host)}).setTimeout(5000, () => process.exit(1)).pipe(process.stdout)`;
    return this.inside(namespace, process.execPath, '-e', script);
  }

  /** Interfaces of the host other than `lo`, addresses given out, and rules of containers. */
  async leftovers(bridge: string): Promise<string[]> {
    const links = JSON.parse((await this.onHost('ip', '-json', 'link')) || '[]') as {
      ifname: string;
    }[];
    const rules = await this.onHost('iptables-save', '-t', 'nat');
    const stores = await readdir(this.path('ipam'), { recursive: true }).catch(() => []);
    return [
      ...links.map(({ ifname }) => ifname).filter((name) => name !== 'lo' && name !== bridge),
      ...rules.split('\n').filter((line) => line.includes(' id: ')),
      ...stores.filter((name) => /[0-9]$/.test(name) && !name.includes('last_reserved')),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const path of this.#namespaces) await removePinnedNamespace(path);
    await rm(this.directory, { recursive: true, force: true });
  }

  #pin(path: string): void {
    createPinnedNamespace('net', path, setLoopbackUp);
    this.#namespaces.push(path);
  }
}
