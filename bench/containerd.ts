import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CNI_BIN_DIRS,
  type CriClient,
  connect,
  killLeftovers,
  leftoversUnder,
  waitFor,
} from '../test/harness/index.ts';

export interface ContainerdOptions {
  /** The image of the container that keeps a sandbox's namespaces open. */
  sandboxImage: string;
  cniConfDir: string;
  /** Directory with HOST/hosts.toml. */
  registryConfigDir: string;
}

/** A containerd with directories and sockets of its own. */
export interface Containerd extends AsyncDisposable {
  readonly client: CriClient;
  readonly pid: number;
  /** Where its images are. */
  readonly root: string;
}

/** Starts the containerd found in PATH with its CRI plugin and runc. */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-bench-'));
  const hadRunDirectory = existsSync('/run/containerd');
  await mkdir(join(directory, 'opt'));
  const config = join(directory, 'config.toml');
  await writeFile(config, configuration(directory, options));
  const child = spawn('containerd', ['--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  }
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      log += error.message;
      resolve();
    });
  });
  const client = connect(`unix://${directory}/containerd.sock`);
  const stop = async () => {
    client.close();
    child.kill('SIGTERM');
    await ended;
    const left = await leftoversUnder(directory);
    await killLeftovers(directory);
    await rm(directory, { recursive: true, force: true });
    // Shims keep their sockets there, whatever the configuration says.
    if (!hadRunDirectory) await rm('/run/containerd', { recursive: true, force: true });
    if (left.length > 0) console.error(`containerd left behind:\n  ${left.join('\n  ')}`);
  };
  try {
    await waitFor('an answer of containerd', () => client.runtime.version({}), 20_000);
  } catch (error) {
    await stop();
    throw new Error(`Cannot start containerd:\n${log}`, { cause: error });
  }
  const root = join(directory, 'root');
  return { client, pid: child.pid ?? 0, root, [Symbol.asyncDispose]: stop };
}

function configuration(directory: string, options: ContainerdOptions): string {
  const binDir = CNI_BIN_DIRS.find((path) => existsSync(join(path, 'bridge'))) ?? '';
  return `version = 2
root = "${directory}/root"
state = "${directory}/state"
[grpc]
address = "${directory}/containerd.sock"
[ttrpc]
address = "${directory}/containerd.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
path = "${directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${options.sandboxImage}"
restrict_oom_score_adj = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${binDir}"
conf_dir = "${options.cniConfDir}"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "${options.registryConfigDir}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "runc"
Root = "${directory}/runc"
`;
}
