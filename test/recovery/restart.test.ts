import { readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/gen/runtime/v1/api.ts';
import { codeOf, criSuite, ended, execIn, shell, statusOf } from '../cri/suite.ts';
import {
  containerConfig,
  logLines,
  type Pod,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';

const suite = criSuite();

/** Writes a number, and the next one a hundredth of a second later. */
const COUNTER = shell('n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done');

const SHARED = {
  linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
} as const;

/** Fails if a line is missing, doubled or torn. Answers how many there are. */
async function countOf(pod: Pod, config: Parameters<typeof logLines>[1]): Promise<number> {
  const lines = await logLines(pod, config);
  const wrong = lines.findIndex((line, index) => line !== String(index));
  expect(lines.slice(wrong < 0 ? lines.length : wrong)).toEqual([]);
  return lines.length;
}

const pidOf = async (id: string): Promise<number> => {
  const { info } = await suite.daemon.runtime.containerStatus({ containerId: id, verbose: true });
  return JSON.parse(info['info']!).pid;
};

/** Clock ticks since boot. */
const startOf = async (pid: number) =>
  (await readFile(`/proc/${pid}/stat`, 'latin1')).replace(/^.*\) /, '').split(' ')[19];

const monitorOf = async (id: string) =>
  Number(
    await readFile(join(suite.daemon.paths.state, 'containers', id, 'bundle/conmon.pid'), 'utf8'),
  );

async function crash(meanwhile: () => Promise<unknown> = async () => {}): Promise<void> {
  await suite.daemon.kill9();
  await meanwhile();
  await suite.daemon.start({ env: {} });
}

const killed = (pid: number) =>
  waitFor(`the end of process ${pid}`, async () => {
    process.kill(pid, 'SIGKILL');
    return readlink(`/proc/${pid}/exe`).then(
      () => false,
      () => true,
    );
  }).catch((error: unknown) => {
    if ((error as Error).cause === undefined) throw error;
  });

let pod: Pod;
beforeAll(async () => {
  pod = await runPod(suite.daemon);
});

test('containers do not notice, and their logs go on without a hole', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, COUNTER);
  const id = await runContainer(daemon, pod, config);
  const pid = await pidOf(id);
  const before = { status: await statusOf(daemon, id), start: await startOf(pid) };
  const written = await waitFor('lines', async () => (await countOf(pod, config)) || undefined);
  let during = 0;
  await crash(async () => {
    during = await waitFor('lines while there is no daemon', async () => {
      const count = await countOf(pod, config);
      return count > written + 10 && count;
    });
  });
  await waitFor('lines afterwards', async () => (await countOf(pod, config)) > during + 10);
  expect(await pidOf(id)).toBe(pid);
  expect({ status: await statusOf(daemon, id), start: await startOf(pid) }).toEqual(before);
  const { status } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id });
  expect(status).toMatchObject({ state: PodSandboxState.SANDBOX_READY });
});

test('exec, statistics, log rotation, stop and remove work on what was adopted', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, COUNTER);
  const id = await runContainer(daemon, pod, config);
  await crash();
  expect(await execIn(daemon, id, 'cat /proc/1/comm')).toBe('sh');
  const { stats } = await daemon.runtime.containerStats({ containerId: id });
  expect(stats!.memory!.workingSetBytes!.value).toBeGreaterThan(0n);
  await daemon.runtime.reopenContainerLog({ containerId: id });
  await daemon.runtime.stopContainer({ containerId: id, timeout: 0n });
  expect(await statusOf(daemon, id)).toMatchObject({
    state: ContainerState.CONTAINER_EXITED,
    exitCode: 137,
  });
  await daemon.runtime.removeContainer({ containerId: id });
  expect(await codeOf(statusOf(daemon, id))).toBe('NOT_FOUND');
  await runContainer(daemon, pod, config);
});

test('a container that was only created is started by the next daemon', async () => {
  const { daemon, image } = suite;
  const config = containerConfig(image, shell('echo began'));
  const { containerId } = await daemon.runtime.createContainer({
    podSandboxId: pod.id,
    config,
    sandboxConfig: pod.config,
  });
  await crash();
  expect((await statusOf(daemon, containerId)).state).toBe(ContainerState.CONTAINER_CREATED);
  await daemon.runtime.startContainer({ containerId });
  expect(await ended(daemon, containerId)).toMatchObject({ exitCode: 0, reason: 'Completed' });
  expect(await logLines(pod, config)).toEqual(['began']);
});

test('exits that happened meanwhile are told with their code and time', async () => {
  const { daemon, image } = suite;
  const gate = containerConfig(
    image,
    shell('trap "echo at $(date +%s); exit 7" TERM; while :; do sleep 0.05; done'),
  );
  const done = containerConfig(image, shell('trap "exit 0" TERM; while :; do sleep 0.05; done'));
  const ids = [await runContainer(daemon, pod, gate), await runContainer(daemon, pod, done)];
  const pids = await Promise.all(ids.map(pidOf));
  let finished = 0n;
  await crash(async () => {
    // The shell sets its trap a moment after it has begun.
    await waitFor('both ends', async () => {
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGTERM');
        } catch {
          // It has ended.
        }
      }
      const exits = ids.map((id) => readFile(join(daemon.paths.state, 'exits', id), 'utf8'));
      return Promise.all(exits);
    });
    finished = BigInt(Date.now()) * 1_000_000n;
    // Whoever took the time of the next start for that of the exit would be late by this.
    await new Promise((resolve) => setTimeout(resolve, 300));
  });
  const [seven, zero] = await Promise.all(ids.map((id) => ended(daemon, id)));
  expect(seven).toMatchObject({ exitCode: 7, reason: 'Error' });
  expect(zero).toMatchObject({ exitCode: 0, reason: 'Completed' });
  for (const status of [seven!, zero!]) {
    expect(status.finishedAt).toBeLessThanOrEqual(finished + 50_000_000n);
    expect(status.finishedAt).toBeGreaterThan(status.startedAt);
  }
});

test('a container that ran out of memory meanwhile is told apart', async () => {
  const { daemon, image } = suite;
  const id = await runContainer(
    daemon,
    pod,
    containerConfig(image, {
      ...shell('while [ ! -e /go ]; do sleep 0.05; done; exec tail -c 200m /dev/zero'),
      linux: { resources: { memoryLimitInBytes: 32n << 20n } },
    }),
  );
  const pid = await pidOf(id);
  await crash(async () => {
    await writeFile(`/proc/${pid}/root/go`, '');
    await waitFor('the exit', () => readFile(join(daemon.paths.state, 'exits', id), 'utf8'));
  });
  expect(await ended(daemon, id)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
});

test('of a container whose monitor was killed too, nobody knows how it ended', async () => {
  const { daemon, image } = suite;
  const id = await runContainer(daemon, pod, containerConfig(image));
  const pid = await pidOf(id);
  await crash(async () => {
    await killed(await monitorOf(id));
    await killed(pid);
  });
  expect(await ended(daemon, id)).toMatchObject({ exitCode: 255, reason: 'Unknown' });
  await daemon.runtime.removeContainer({ containerId: id });
});

test('a container whose monitor was killed goes on, and its end is noticed', async () => {
  const { daemon, image } = suite;
  const id = await runContainer(daemon, pod, containerConfig(image));
  const pid = await pidOf(id);
  await crash(async () => killed(await monitorOf(id)));
  expect(await execIn(daemon, id, 'echo lives')).toBe('lives');
  await daemon.runtime.stopContainer({ containerId: id, timeout: 0n }, { timeout: 25_000 });
  expect(await statusOf(daemon, id)).toMatchObject({ exitCode: 255, reason: 'Unknown' });
  await expect(readlink(`/proc/${pid}/exe`)).rejects.toThrow();
});

test('a pod with a shared PID namespace keeps its init process', async () => {
  const { daemon, image } = suite;
  const together = await runPod(daemon, SHARED);
  const first = await runContainer(daemon, together, containerConfig(image, SHARED));
  await crash();
  const second = await runContainer(daemon, together, containerConfig(image, SHARED));
  for (const id of [first, second]) {
    expect(await execIn(daemon, id, 'cat /proc/1/comm')).toBe('init');
    expect(await execIn(daemon, id, 'ps | grep -c "[s]leep 1000000"')).toBe('2');
  }
});

test('a pod whose init process died meanwhile is not ready, and its containers have ended', async () => {
  const { daemon, image } = suite;
  const together = await runPod(daemon, SHARED);
  const id = await runContainer(daemon, together, containerConfig(image, SHARED));
  const record = join(daemon.paths.state, 'sandboxes', together.id, 'record.json');
  const { init } = JSON.parse(await readFile(record, 'utf8'));
  await crash(() => killed(init.pid));
  expect(await ended(daemon, id)).toMatchObject({ exitCode: 137 });
  const request = { podSandboxId: together.id };
  const { status } = await daemon.runtime.podSandboxStatus(request);
  expect(status!.state).toBe(PodSandboxState.SANDBOX_NOTREADY);
  await daemon.runtime.stopPodSandbox(request);
  await daemon.runtime.removePodSandbox(request);
});
