import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { vi } from 'vitest';

/** Where setup.sh unpacks firewalld, and what it needs, where it is not installed. */
const UNPACKED = resolve('.tools/firewalld');
const PYTHON = '/usr/bin/python3';
const LIBRARIES = join(
  UNPACKED,
  'usr/lib',
  `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
);

const environment = {
  ...process.env,
  PATH: [
    '/usr/sbin',
    ...['bin', 'sbin'].map((name) => join(UNPACKED, 'usr', name)),
    process.env['PATH'],
  ].join(':'),
  PYTHONPATH: join(UNPACKED, 'usr/lib/python3/dist-packages'),
  GI_TYPELIB_PATH: join(LIBRARIES, 'girepository-1.0'),
  LD_LIBRARY_PATH: LIBRARIES,
};

/** Whether this machine can run firewalld. */
export function hasFirewalld(): boolean {
  const modules = ['-c', 'import dbus, gi, nftables, firewall'];
  return (
    spawnSync(PYTHON, modules, { env: environment }).status === 0 &&
    spawnSync('dbus-daemon', ['--version'], { env: environment }).status === 0
  );
}

/**
 * firewalld, guarding the network namespace of the test and nothing else, on a message bus
 * that only those see who have its address.
 */
export class Firewalld {
  readonly address: string;
  readonly #directory: string;
  readonly #processes: ChildProcess[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
    this.address = `unix:path=${join(directory, 'bus')}`;
  }

  static async start(directory: string): Promise<Firewalld> {
    const one = new Firewalld(directory);
    one.startBus();
    try {
      await vi.waitUntil(() => existsSync(join(directory, 'bus')), { timeout: 10_000 });
      return one;
    } catch (error) {
      await one.stop();
      throw error;
    }
  }

  startBus(): void {
    const config = join(this.#directory, 'bus.conf');
    writeFileSync(
      config,
      `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
        "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
      <busconfig>
        <listen>${this.address}</listen>
        <policy context="default">
          <allow user="root"/><allow own="*"/>
          <allow send_destination="*"/><allow receive_sender="*"/>
        </policy>
      </busconfig>`,
    );
    this.#spawn('dbus-daemon', [`--config-file=${config}`, '--nofork', '--nopidfile']);
  }

  /** Returns when it guards. */
  async guard(): Promise<void> {
    const settings = join(this.#directory, 'etc');
    mkdirSync(join(settings, 'zones'), { recursive: true });
    // What these leave on would be done to the whole machine.
    const lines = ['CleanupModulesOnExit=no', 'IPv6_rpfilter=no', 'FirewallBackend=nftables'];
    writeFileSync(join(settings, 'firewalld.conf'), `${lines.join('\n')}\n`);
    const installed = existsSync('/usr/sbin/firewalld');
    const root = installed ? '/' : UNPACKED;
    this.#spawn(PYTHON, [
      join(root, 'usr/sbin/firewalld'),
      ...['--nofork', '--nopid', '--log-file', join(this.#directory, 'log')],
      ...['--system-config', settings, '--default-config', join(root, 'usr/lib/firewalld')],
    ]);
    await vi.waitUntil(() => this.command('--state') === 'running', { timeout: 20_000 });
  }

  /** What firewall-cmd says. */
  command(...args: string[]): string {
    const installed = existsSync('/usr/bin/firewall-cmd');
    const program = join(installed ? '/' : UNPACKED, 'usr/bin/firewall-cmd');
    const env = { ...environment, DBUS_SYSTEM_BUS_ADDRESS: this.address };
    return spawnSync(PYTHON, [program, ...args], { env, encoding: 'utf8' }).stdout.trim();
  }

  #spawn(program: string, args: string[]): void {
    const env = { ...environment, DBUS_SYSTEM_BUS_ADDRESS: this.address };
    this.#processes.push(spawn(program, args, { env, stdio: 'ignore' }));
  }

  async stop(): Promise<void> {
    for (const child of this.#processes.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
}
