import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { SpanRecord } from '../../src/base/index.ts';
import { criSuite, ended, shell } from '../cri/suite.ts';
import { busyboxImage, pushImage } from '../fixtures/image.ts';
import {
  containerConfig,
  createContainer,
  type Pod,
  podConfig,
  runContainer,
  runPod,
  waitFor,
} from '../harness/index.ts';
import { Kept, keelson } from './fake-cri.ts';

const suite = criSuite();
let web: Pod;

function run(...args: string[]) {
  return keelson(['-r', suite.daemon.uri, ...args]);
}

async function output(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

async function spansOf(...args: string[]): Promise<SpanRecord[]> {
  const text = await output('trace', '-o', 'json', ...args);
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as SpanRecord);
}

/** The names of the spans above one, the nearest first. */
function above(spans: readonly SpanRecord[], span: SpanRecord): string[] {
  const parent = spans.find(({ id }) => id === span.parent);
  return parent === undefined ? [] : [parent.name, ...above(spans, parent)];
}

/** Replaces the daemon's network configuration, and waits until it is read. */
async function setNetwork(change: (conflist: { plugins: Record<string, unknown>[] }) => void) {
  const conflist = JSON.parse(suite.daemon.network!.conflist);
  change(conflist);
  await writeFile(
    join(suite.daemon.paths.cniConfDir, '10-test.conflist'),
    JSON.stringify(conflist),
  );
}

beforeAll(async () => {
  web = await runPod(suite.daemon, { metadata: { name: 'web' } });
  const config = containerConfig(suite.image, { metadata: { name: 'app' } });
  await runContainer(suite.daemon, web, config);
});

test('a pod is told as the calls that made it, with their steps and how long they took', async () => {
  const text = await output('trace', 'web');
  expect(text).toMatch(/^Pod default\/web \([0-9a-f]{64}\), 4 calls in [\d.]+ m?s, the first one/);
  for (const step of [
    /^\+\d+\.\d{3} s {2}PullImage 127.0.0.1:\d+\/busybox:1 +[\d.]+ m?s$/m,
    / GET 127\.0\.0\.1:\d+\/v2\/busybox\/manifests\/1 → 200 +[\d.]+ ms$/m,
    /├─ unpack [0-9a-f]{13} +[\d.]+ m?s$/m,
    /^\+\d+\.\d{3} s {2}RunPodSandbox default\/web +[\d.]+ m?s$/m,
    /│ {2}└─ mount tmpfs +[\d.]+ ms$/m,
    /├─ CNI ADD bridge on "keelson-test-\w+" → 10\.\d+\.\d+\.2\/24 +[\d.]+ m?s$/m,
    /└─ CNI ADD host-local /,
    /^\+\d+\.\d{3} s {2}CreateContainer app in default\/web +[\d.]+ m?s$/m,
    /└─ mount overlay of 1 layer +[\d.]+ ms$/m,
    /└─ crun create [0-9a-f]{13} +[\d.]+ m?s$/m,
    /^\+\d+\.\d{3} s {2}StartContainer app in default\/web +[\d.]+ m?s$/m,
    /└─ crun start [0-9a-f]{13} +[\d.]+ m?s$/m,
  ]) {
    expect(text).toMatch(step);
  }
  expect(text).not.toContain('✗');
  expect(await output('trace', 'default/web')).toContain('RunPodSandbox');
  expect(await output('trace', web.id.slice(0, 12))).toContain('RunPodSandbox');
});

test('each call of others is a span below its CRI call, with what was given and answered', async () => {
  const spans = await spansOf('web');
  const find = (name: string, plugin?: string) => {
    const found = spans.find(
      (span) =>
        span.name === name && (plugin === undefined || span.attributes['plugin'] === plugin),
    );
    expect(found, name).toBeDefined();
    return found!;
  };
  const add = find('cni.ADD', 'bridge');
  expect(above(spans, add)).toEqual(['add eth0', 'attach network', 'cri.RunPodSandbox']);
  expect(add.attributes).toMatchObject({
    ...{ containerId: web.id, ifname: 'eth0', program: 'builtin' },
    netns: expect.stringMatching(/^\/run\/netns\//),
  });
  expect(JSON.parse(`${add.attributes['input']}`)).toMatchObject({
    type: 'bridge',
    isGateway: true,
  });
  expect(JSON.parse(`${add.attributes['result']}`)).toMatchObject({
    ips: [{ address: expect.stringContaining('/24') }],
  });
  expect(above(spans, find('cni.ADD', 'host-local'))[0]).toBe('cni.ADD');
  expect(above(spans, find('oci.create')).at(-1)).toBe('cri.CreateContainer');
  expect(above(spans, find('oci.start')).at(-1)).toBe('cri.StartContainer');
  expect(find('oci.start').attributes['runtime']).toBe('crun');
  expect(above(spans, find('mount.overlay')).at(-1)).toBe('cri.CreateContainer');
  const get = find('registry.GET');
  expect(get.attributes).toMatchObject({ status: 200, path: '/v2/busybox/manifests/1' });
  expect(above(spans, get).at(-1)).toBe('cri.PullImage');
  expect(find('cri.CreateContainer').attributes).toMatchObject({
    ...{ pod: 'default/web', podId: web.id, container: 'app', image: suite.image },
    containerId: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test('no span has a secret', async () => {
  const image = { image: `${suite.registry.host}/private:1` };
  const auth = { username: 'me', password: 'very-secret-password' };
  await suite.daemon.images.pullImage({ image, auth }).catch(() => {});
  await setNetwork(({ plugins }) => {
    plugins[0]!['k8s_auth_token'] = 'very-secret-token';
  });
  const all = await waitFor('the new configuration', async () => {
    await runPod(suite.daemon);
    const text = await output('trace', '--no-follow', '-o', 'json', '--all');
    return text.includes('k8s_auth_token') && text;
  });
  expect(all).toContain('/private');
  expect(all).not.toMatch(/very-secret/);
  expect(all).not.toContain(Buffer.from('me:very-secret-password').toString('base64'));
});

test('what failed says why, at the step where it did', async () => {
  const pod = await runPod(suite.daemon, { metadata: { name: 'broken' } });
  const config = containerConfig(suite.image, {
    metadata: { name: 'bad' },
    command: ['/not-there'],
  });
  await expect(createContainer(suite.daemon, pod, config)).rejects.toThrow();
  const text = await output('trace', 'broken');
  expect(text).toMatch(/✗ CreateContainer bad in default\/broken/);
  expect(text).toMatch(/✗ crun create [0-9a-f]{13} .*\n.*not-there/);
  expect(text.match(/not-there/g)).toHaveLength(1);
  expect(text).toContain('├─ undo mount root filesystem');
});

test('of a pod that nobody knows nothing is told', async () => {
  expect(await run('trace', 'nobody')).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('remembers no call'),
  });
});

test.each([false, true])('calls are shown live, also on a terminal (%s)', async (isTTY) => {
  const stdout = Object.assign(new Kept(), { isTTY, columns: 200 });
  const stop = new AbortController();
  const live = keelson(['-r', suite.daemon.uri, 'trace'], { stdout, signal: stop.signal });
  // Until the command listens, calls are not shown.
  await waitFor('a call that is shown', async () => {
    await suite.daemon.runtime.removePodSandbox({ podSandboxId: 'f'.repeat(64) });
    return stdout.text.includes('RemovePodSandbox');
  });
  const pod = await runPod(suite.daemon);
  await suite.daemon.runtime.version();
  const id = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, shell('trap "" TERM; sleep 9')),
  );
  const stopping = suite.daemon.runtime.stopContainer({ containerId: id, timeout: 1n });
  await waitFor('the end of the call', async () =>
    / StopContainer .*\n.*send stop/.test(stdout.text),
  );
  await stopping;
  stop.abort();
  await live;
  // What is under way is shown in place of itself, on a terminal alone.
  const underWay = /… +[\d.]+ m?s {2}StopContainer [^\n]* › wait\n/;
  if (isTTY) expect(stdout.text).toMatch(underWay);
  else expect(stdout.text).not.toContain('\x1b');
});

test('a pod that runs, or was never given a container, is said to', async () => {
  expect(await output('inspectp', '--why', web.id)).toBe(
    `Pod "default/web" (${web.id.slice(0, 13)}) is running: its sandbox is ready and its container runs.\n`,
  );
  await runPod(suite.daemon, { metadata: { name: 'empty' } });
  expect(await output('inspectp', '--why', 'empty')).toMatch(
    /is ready, but it has no container\.\n$/,
  );
});

test('a container that ended says how, and where to look', async () => {
  const pod = await runPod(suite.daemon, { metadata: { name: 'ended' } });
  const start = async (name: string, script: string, limit = 0n) => {
    const config = containerConfig(suite.image, {
      ...shell(script),
      ...{ metadata: { name }, linux: { resources: { memoryLimitInBytes: limit } } },
    });
    await ended(suite.daemon, await runContainer(suite.daemon, pod, config));
  };
  await start('one', 'exit 3');
  const two = await runContainer(
    suite.daemon,
    pod,
    containerConfig(suite.image, { metadata: { name: 'two' } }),
  );
  await suite.daemon.runtime.stopContainer({ containerId: two, timeout: 0n });
  await start('three', 'exit 0');
  await start('four', 'x=a; while :; do x=$x$x; done', 16n << 20n);
  const text = await output('inspectp', '--why', 'ended');
  expect(text.split('\n')).toHaveLength(2);
  expect(text).toContain('is ready, but 4 of its 4 containers do not run.');
  expect(text).toMatch(
    /Container "one" ended .* ago, after it ran for .*, with exit code 3\. What it said last is in ".*\/one-?.*\.log"\./,
  );
  expect(text).toMatch(
    /Container "two" ended .*, with exit code 137, which means that SIGKILL ended it, as StopContainer or StopPodSandbox asked\./,
  );
  expect(text).toMatch(/Container "three" ended .*, with exit code 0: it had done its work\./);
  expect(text).toMatch(
    /Container "four" was killed .*, because it wanted more memory than its limit of 16\.8MB\./,
  );
});

test('a pod whose image or command is not there says so', async () => {
  const pod = await runPod(suite.daemon, { metadata: { name: 'faulty' } });
  const image = `${suite.registry.host}/none:1`;
  await expect(
    suite.daemon.images.pullImage({ image: { image }, sandboxConfig: pod.config }),
  ).rejects.toThrow();
  const named = (name: string, more: object) =>
    createContainer(
      suite.daemon,
      pod,
      containerConfig(suite.image, { metadata: { name }, ...more }),
    );
  await expect(named('lost', { image: { image } })).rejects.toThrow();
  await expect(named('bad', { command: ['/not-there'] })).rejects.toThrow();
  await named('idle', {});
  const text = await output('inspectp', '--why', 'faulty');
  expect(text).toContain('Container "idle" was created');
  expect(text).toMatch(
    /The last attempt to pull image "127.0.0.1:\d+\/none:1", .* ago, failed: .*404/,
  );
  expect(text).toMatch(/The last attempt to create container "lost", .* There is no image/);
  expect(text).toMatch(
    /create container "bad", .* failed in the step "create by runtime": .*not-there/,
  );
  // What went well later is no reason any more.
  await pushImage({ url: suite.registry.url, repository: 'none' }, '1', busyboxImage());
  await suite.daemon.images.pullImage({ image: { image }, sandboxConfig: pod.config });
  expect(await output('inspectp', '--why', 'faulty')).not.toContain('attempt to pull');
});

test('a pod without a network says which plugin failed, and what the node says', async () => {
  await setNetwork(({ plugins }) => {
    plugins[0] = {
      type: 'bridge',
      bridge: 'x'.repeat(40),
      ipam: { type: 'host-local', subnet: 'y' },
    };
  });
  const config = podConfig({ metadata: { name: 'unconnected' } });
  await waitFor('the network to fail', async () => {
    try {
      const { podSandboxId } = await suite.daemon.runtime.runPodSandbox({ config });
      await suite.daemon.runtime.removePodSandbox({ podSandboxId });
      return false;
    } catch {
      return true;
    }
  });
  const text = await output('inspectp', '--why', 'unconnected');
  expect(text).toMatch(
    /^Pod "default\/unconnected".* has no sandbox\. The last attempt to make its sandbox, .* ago, failed in the step "add eth0": /,
  );
  await setNetwork((conflist) => {
    conflist.plugins = [{ type: 'not-installed' }];
  });
  await waitFor('the node to say so', async () =>
    (await output('inspectp', '--why', 'unconnected')).includes('NetworkReady says: '),
  );
  expect(await output('inspectp', '--why', 'unconnected')).toContain('"not-installed"');
  await setNetwork(() => {});
});

test('a pod that was stopped or removed says so; one that never was is not found', async () => {
  const pod = await waitFor('the network', () =>
    runPod(suite.daemon, { metadata: { name: 'gone' } }).catch(() => undefined),
  );
  await suite.daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  expect(await output('inspectp', '--why', 'gone')).toMatch(
    /does not run: it was stopped .* ago, as StopPodSandbox asked/,
  );
  await suite.daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
  expect(await output('inspectp', '--why', 'gone')).toMatch(/is gone: it was removed .* ago\./);
  expect(await run('inspectp', '--why', 'never')).toMatchObject({ code: 3, stdout: '' });
});
