import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Container,
  ContainerState,
  ContainerStatus,
  Image,
  PodSandboxState,
  PodSandboxStatus,
} from '../../src/gen/runtime/v1/api.ts';
import { FakeCri, grpcError, keelson } from './fake-cri.ts';

let fake: FakeCri;
let states: Record<string, ContainerState>;
let stopTimeouts: bigint[];

beforeEach(async () => {
  states = {
    running: ContainerState.CONTAINER_RUNNING,
    exited: ContainerState.CONTAINER_EXITED,
  };
  stopTimeouts = [];
  fake = await FakeCri.start({
    containerStatus: ({ containerId }) => {
      const state = states[containerId];
      if (state === undefined) throw grpcError('NOT_FOUND', `no container "${containerId}"`);
      const logPath = join(fake.directory, 'logs', '0.log');
      return { status: ContainerStatus.fromPartial({ id: containerId, state, logPath }), info: {} };
    },
    stopContainer: ({ timeout }) => {
      stopTimeouts.push(timeout);
      return {};
    },
    removeContainer: ({ containerId }) => {
      if (containerId === 'stuck') throw grpcError('INTERNAL', 'Cannot remove it: busy');
      return {};
    },
    listContainers: () => ({
      containers: Object.keys(states).map((id) => Container.fromPartial({ id, imageId: 'used' })),
    }),
    podSandboxStatus: ({ podSandboxId }) => {
      if (podSandboxId === 'gone') throw grpcError('NOT_FOUND', 'no such pod');
      const state =
        podSandboxId === 'ready' ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
      return {
        status: PodSandboxStatus.fromPartial({ id: podSandboxId, state }),
        info: {},
        containersStatuses: [],
        timestamp: 0n,
      };
    },
    stopPodSandbox: () => ({}),
    removePodSandbox: () => ({}),
    imageStatus: ({ image }) => ({
      image:
        image?.image === 'absent'
          ? undefined
          : Image.fromPartial({ id: image?.image ?? '', repoTags: [`${image?.image}:1`] }),
      info: {},
    }),
    listImages: () => ({
      images: ['used', 'pinned', 'free'].map((id) =>
        Image.fromPartial({ id, pinned: id === 'pinned' }),
      ),
    }),
    removeImage: () => ({}),
  });
});

afterEach(() => fake[Symbol.asyncDispose]());

function run(...args: string[]) {
  return keelson(['-r', fake.uri, ...args]);
}

describe('stop', () => {
  it('stops each and prints it, with the time asked for', async () => {
    const { code, stdout } = await run('stop', '-t', '7', 'running', 'exited');
    expect(code).toBe(0);
    expect(stdout.split('\n').sort()).toEqual(['', 'exited', 'running']);
    expect(stopTimeouts).toEqual([7n, 7n]);
  });

  it('tries all, tells what failed, and ends with the code of the failures', async () => {
    const { code, stdout, stderr } = await run('stop', 'absent', 'running', 'gone');
    expect(stdout).toBe('running\n');
    expect(stderr.split('\n').sort()).toEqual([
      '',
      'keelson: cannot inspect container "absent": no container "absent"',
      'keelson: cannot inspect container "gone": no container "gone"',
    ]);
    expect(code).toBe(3);
  });

  it('needs either containers or --all', async () => {
    expect((await run('stop')).code).toBe(2);
    expect((await run('stop', '--all', 'running')).code).toBe(2);
    expect(fake.calls).toEqual([]);
  });
});

describe('rm', () => {
  beforeEach(async () => {
    await mkdir(join(fake.directory, 'logs'));
    for (const name of ['0.log', '0.log.20240101-000000', '0.log.1.gz', '0.logs', '1.log']) {
      await writeFile(join(fake.directory, 'logs', name), '');
    }
  });

  it('leaves a running one alone, and removes the others', async () => {
    const { code, stdout, stderr } = await run('rm', 'running', 'exited');
    expect(stdout).toBe('exited\n');
    expect(stderr).toMatch(/^keelson: cannot remove container "running": it is running \(/);
    expect(code).toBe(1);
  });

  it('stops a running one when forced, at once', async () => {
    expect(await run('rm', '-f', 'running')).toMatchObject({ code: 0, stdout: 'running\n' });
    expect(stopTimeouts).toEqual([0n]);
  });

  it('removes the log and its rotations, but no other file', async () => {
    await run('rm', 'exited');
    expect((await readdir(join(fake.directory, 'logs'))).sort()).toEqual(['0.logs', '1.log']);
  });

  it('keeps logs when asked', async () => {
    await run('rm', '-k', 'exited');
    expect(await readdir(join(fake.directory, 'logs'))).toHaveLength(5);
  });

  it("tells the daemon's own message once, and 1 for failures of different kinds", async () => {
    states = { ...states, stuck: ContainerState.CONTAINER_EXITED };
    const { code, stderr } = await run('rm', '-af');
    expect(stderr).toBe('keelson: cannot remove it: busy\n');
    expect(code).toBe(1);
    expect((await run('rm', 'stuck', 'absent')).code).toBe(1);
  });
});

describe('stopp and rmp', () => {
  it('stops and removes', async () => {
    expect((await run('stopp', 'ready')).stdout).toBe('Stopped sandbox ready\n');
    expect((await run('rmp', 'done')).stdout).toBe('Removed sandbox done\n');
    expect(fake.calls).not.toContain('listPodSandbox');
  });

  it('removes a ready pod only when forced', async () => {
    expect((await run('rmp', 'ready')).code).toBe(1);
    expect(fake.calls).not.toContain('removePodSandbox');
    expect((await run('rmp', '-f', 'ready')).code).toBe(0);
    expect(fake.calls.slice(-2)).toEqual(['stopPodSandbox', 'removePodSandbox']);
  });

  it('tells a pod that is not there', async () => {
    expect((await run('stopp', 'gone')).code).toBe(3);
    expect((await run('rmp', 'gone')).code).toBe(3);
  });
});

describe('rmi', () => {
  it('prints the names that are gone', async () => {
    expect((await run('rmi', 'web')).stdout).toBe('Deleted: web:1\n');
    expect(await run('rmi', 'absent')).toMatchObject({ code: 3, stdout: '' });
  });

  it('prunes what no container uses and what is not pinned', async () => {
    expect((await run('rmi', '--prune')).stdout).toBe('Deleted: free:1\n');
  });
});
