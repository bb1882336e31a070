import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PullProgressSource } from '../../src/cli/index.ts';
import type { PullImageRequest } from '../../src/gen/runtime/v1/api.ts';
import { FakeCri, grpcError, Kept, keelson } from './fake-cri.ts';

let fake: FakeCri;
let requests: PullImageRequest[];

beforeEach(async () => {
  requests = [];
  fake = await FakeCri.start({
    pullImage: (request) => {
      requests.push(request);
      if (request.image?.image === 'absent') throw grpcError('NOT_FOUND', 'registry answered 404');
      return { imageRef: 'sha256:1' };
    },
  });
});

afterEach(() => fake[Symbol.asyncDispose]());

function pull(args: string[], options: Parameters<typeof keelson>[1] = {}) {
  return keelson(['-r', fake.uri, 'pull', ...args], options);
}

it('pulls and tells what it has', async () => {
  const { code, stdout, stderr } = await pull(['busybox']);
  expect(code).toBe(0);
  expect(stdout).toBe('Image is up to date for sha256:1\n');
  expect(stderr).toMatch(/^Pulling busybox\nPulled busybox in [\d.]+ s\n$/);
});

it('tells why not', async () => {
  expect(await pull(['absent'])).toMatchObject({
    code: 3,
    stdout: '',
    stderr: 'Pulling absent\nkeelson: cannot pull image "absent": registry answered 404\n',
  });
});

describe('credentials', () => {
  it.each([
    [['--creds', 'user:pass:word'], {}, { username: 'user', password: 'pass:word' }],
    [['--creds', 'user'], {}, { username: 'user', password: '' }],
    [['--auth', 'dXNlcg=='], {}, { auth: 'dXNlcg==' }],
    [[], { CRICTL_CREDS: 'a:b' }, { username: 'a', password: 'b' }],
    [['--auth', 'x'], { CRICTL_CREDS: 'a:b' }, { username: '', auth: 'x' }],
    [['-u', 'user'], {}, { username: 'user', password: 'secret' }],
  ])('are taken from %j and %j', async (args, env, auth) => {
    expect((await pull([...args, 'busybox'], { env, input: 'secret\nmore\n' })).code).toBe(0);
    expect(requests[0]?.auth).toMatchObject(auth);
  });

  it('are none when none are given', async () => {
    await pull(['busybox']);
    expect(requests[0]?.auth).toBeUndefined();
  });

  it('are refused when there are two, or there is no password to read', async () => {
    expect((await pull(['--creds', 'a:b', '--auth', 'x', 'busybox'])).code).toBe(2);
    expect((await pull(['-u', 'user', 'busybox'])).code).toBe(2);
    expect(requests).toEqual([]);
  });
});

describe('progress', () => {
  const layers = (done: number) => [
    { digest: `sha256:${'a'.repeat(64)}`, total: 1000, done },
    { digest: `sha256:${'b'.repeat(64)}`, total: 2_000_000, done: done * 1000 },
  ];
  const pullProgress: PullProgressSource = {
    async *watch() {
      for (const done of [0, 500, 1000, 1000]) yield layers(done);
    },
  };

  it('is a line for each layer elsewhere than on a terminal', async () => {
    const { stderr } = await pull(['busybox'], { pullProgress });
    expect(stderr.split('\n').slice(0, 2)).toEqual([
      'Pulling busybox',
      `Downloaded sha256:${'a'.repeat(64)} (1kB)`,
    ]);
  });

  it('is a bar for each layer on a terminal', async () => {
    const stderr = Object.assign(new Kept(), { isTTY: true, columns: 100, rows: 30 });
    Object.assign(stderr, { cursorTo() {}, moveCursor() {}, clearLine() {} });
    expect((await pull(['busybox'], { pullProgress, stderr })).code).toBe(0);
    expect(stderr.text).toContain('aaaaaaaaaaaa [');
    expect(stderr.text).toContain('100% 1kB of 1kB');
  });

  it('counts seconds on a terminal that has no source', async () => {
    const stderr = Object.assign(new Kept(), { isTTY: true });
    await pull(['busybox'], { stderr });
    expect(stderr.text).toContain('Pulling busybox … 0 s');
  });

  it('does not matter to the pull when it fails', async () => {
    const failing: PullProgressSource = {
      // biome-ignore lint/correctness/useYield: it fails before it has anything to tell
      async *watch() {
        throw new Error('no admin socket');
      },
    };
    expect(await pull(['busybox'], { pullProgress: failing })).toMatchObject({ code: 0 });
  });
});

it('hands annotations and the pod on', async () => {
  await pull(['-a', 'k=v', 'busybox']);
  expect(requests[0]?.image).toMatchObject({ image: 'busybox', annotations: { k: 'v' } });
  expect((await pull(['--pod-config', '/absent', 'busybox'])).code).toBe(2);
});
