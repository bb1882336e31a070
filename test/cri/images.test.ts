import { stat } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DeepPartial, Image, PullImageRequest } from '../../src/gen/runtime/v1/api.ts';
import {
  buildIndex,
  busyboxImage,
  hostFixturePlatform,
  pushImage,
  pushManifest,
} from '../fixtures/image.ts';
import { type RegistryFixture, startRegistry } from '../fixtures/registry.ts';
import { codeOf, criSuite } from './suite.ts';

const suite = criSuite();
let locked: RegistryFixture;
/** User `ada` with password `s3cret`, as htpasswd(1) writes it. */
const ADA = 'ada:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK';
const LOGIN = { authorization: `Basic ${Buffer.from('ada:s3cret').toString('base64')}` };

beforeAll(async () => {
  locked = await startRegistry({ htpasswd: ADA });
  const target = { url: locked.url, repository: 'private', headers: LOGIN };
  await pushImage(target, '1', variant('private'));
});
afterAll(async () => {
  await locked?.stop();
});

/** An image with a config of its own, and so an id of its own. */
function variant(name: string, config: Record<string, unknown> = {}) {
  return busyboxImage({ config: { Labels: { name }, ...config } });
}

/** Pushes under more tags without pulling. */
async function push(name: string, tags: readonly string[], image = variant(name)) {
  for (const tag of tags) {
    await pushImage({ url: suite.registry.url, repository: name }, tag, image);
  }
  return { image, repository: `${suite.registry.host}/${name}` };
}

const pull = (image: string, more: DeepPartial<PullImageRequest> = {}) =>
  suite.daemon.images.pullImage({ image: { image }, ...more });

async function find(image: string): Promise<Image | undefined> {
  return (await suite.daemon.images.imageStatus({ image: { image } })).image;
}

test('an image pulled by tag is known by tag, digest, id and prefix of the id', async () => {
  const { image, repository } = await push('tagged', ['1']);
  const { imageRef } = await pull(`${repository}:1`);
  expect(imageRef).toBe(image.id);
  const known = (await find(`${repository}:1`))!;
  expect(known).toMatchObject({
    id: image.id,
    repoTags: [`${repository}:1`],
    repoDigests: [`${repository}@${image.descriptor.digest}`],
    pinned: false,
    username: '',
  });
  expect(known.uid).toBeUndefined();
  expect(known.size).toBeGreaterThan(0n);
  for (const name of [known.repoDigests[0]!, known.id, known.id.slice(7), known.id.slice(7, 20)]) {
    expect(await find(name), name).toEqual(known);
  }
});

test('a name without a tag is that of the tag "latest"', async () => {
  const { image, repository } = await push('untagged', ['latest']);
  expect((await pull(repository)).imageRef).toBe(image.id);
  expect((await find(repository))?.repoTags).toEqual([`${repository}:latest`]);
});

test('the same image of two registries is one, by all its names', async () => {
  const { image, repository } = await push('twice', ['1']);
  await pushImage({ url: locked.url, repository: 'twice', headers: LOGIN }, '1', image);
  const other = `${locked.host}/twice`;
  expect((await pull(`${repository}:1`)).imageRef).toBe(image.id);
  const auth = { username: 'ada', password: 's3cret' };
  expect((await pull(`${other}:1`, { auth })).imageRef).toBe(image.id);
  const known = await find(`${repository}:1`);
  expect(known?.repoTags.toSorted()).toEqual([`${other}:1`, `${repository}:1`].sort());
  expect(await find(`${other}:1`)).toEqual(known);
});

test('pulling again answers the same; a tag that moved goes to the new image', async () => {
  const { image, repository } = await push('moving', ['1']);
  const reference = `${repository}:1`;
  expect((await pull(reference)).imageRef).toBe(image.id);
  expect((await pull(reference)).imageRef).toBe(image.id);
  const second = variant('moving', { Env: ['SECOND=1'] });
  await push('moving', ['1'], second);
  expect((await pull(reference)).imageRef).toBe(second.id);
  expect((await find(reference))?.id).toBe(second.id);
  expect((await find(image.id))?.repoTags).toEqual([]);
});

test('an image pulled by digest has no tag; with tag and digest the digest wins', async () => {
  const { image, repository } = await push('digested', ['1']);
  const newer = variant('digested', { Env: ['NEWER=1'] });
  await push('digested', ['1'], newer);
  const reference = `${repository}@${image.descriptor.digest}`;
  expect((await pull(reference)).imageRef).toBe(image.id);
  expect(await find(image.id)).toMatchObject({ repoTags: [], repoDigests: [reference] });
  const both = await pull(`${repository}:1@${image.descriptor.digest}`);
  expect(both.imageRef).toBe(image.id);
});

test('of an index the image for this platform is taken', async () => {
  const { image, repository } = await push('indexed', ['own']);
  const other = variant('indexed', { Env: ['OTHER=1'] });
  await push('indexed', ['other'], other);
  const { os, architecture } = hostFixturePlatform();
  const { content, descriptor } = buildIndex([
    { ...other.descriptor, platform: { os, architecture: 's390x' } },
    { ...image.descriptor, platform: { os, architecture } },
  ]);
  const target = { url: suite.registry.url, repository: 'indexed' };
  const digest = await pushManifest(target, 'multi', { content, mediaType: descriptor.mediaType });
  const reference = `${repository}@${digest}`;
  expect((await pull(reference)).imageRef).toBe(image.id);
  expect(await find(reference)).toMatchObject({ repoTags: [], repoDigests: [reference] });
  expect((await pull(`${repository}:multi`)).imageRef).toBe(image.id);
  expect((await find(`${repository}:multi`))!.repoDigests).toEqual([reference]);
});

test("the image's user is told as a number or a name", async () => {
  const user = async (User: string) => {
    const name = `user-${User.replaceAll(':', '-')}`;
    const { repository } = await push(name, ['1'], variant(name, { User }));
    await pull(`${repository}:1`);
    const image = (await find(`${repository}:1`))!;
    return [image.uid?.value, image.username];
  };
  expect(await user('1000:2000')).toEqual([1000n, '']);
  expect(await user('0')).toEqual([0n, '']);
  expect(await user('nobody:nogroup')).toEqual([undefined, 'nobody']);
});

test('lists show each image once, and can be asked for one', async () => {
  const first = await push('listed', ['1', '2', '3']);
  for (const tag of ['1', '2', '3']) await pull(`${first.repository}:${tag}`);
  const list = async (image: string) =>
    (await suite.daemon.images.listImages({ filter: { image: { image } } })).images;
  const tags = ['1', '2', '3'].map((tag) => `${first.repository}:${tag}`);
  const all = (await suite.daemon.images.listImages()).images;
  const found = all.filter(({ id }) => id === first.image.id);
  expect(found).toHaveLength(1);
  expect(found[0]!.repoTags.toSorted()).toEqual(tags);
  expect(await list(tags[1]!)).toEqual(found);
  expect(await list(first.image.id)).toEqual(found);
  expect(await list(`${first.repository}:none`)).toEqual([]);
  expect(await list('')).toEqual(all);
});

test('removing by one tag removes all names; again is fine', async () => {
  const { image, repository } = await push('removed', ['1', '2']);
  await pull(`${repository}:1`);
  await pull(`${repository}:2`);
  const remove = (name: string) =>
    codeOf(suite.daemon.images.removeImage({ image: { image: name } }));
  expect(await remove(`${repository}:1`)).toBe('OK');
  for (const name of [`${repository}:1`, `${repository}:2`, image.id]) {
    expect(await find(name), name).toBeUndefined();
  }
  expect(await remove(`${repository}:1`)).toBe('OK');
  expect(await remove(image.id)).toBe('OK');
  await pull(`${repository}:1`);
  const removed = async (name: string) => [await remove(name), await find(image.id)];
  const both = await Promise.all([removed(image.id), removed(`${repository}:1`)]);
  expect(both).toEqual([
    ['OK', undefined],
    ['OK', undefined],
  ]);
  expect(await remove('0'.repeat(64))).toBe('OK');
});

test('verbose status has the configuration of the image', async () => {
  const { info } = await suite.daemon.images.imageStatus({
    image: { image: suite.image },
    verbose: true,
  });
  expect(JSON.parse(info['info']!).imageSpec.config.Cmd).toEqual(['sh']);
});

test('ImageFsInfo tells where images lie and how much they take', async () => {
  const info = async () => {
    const { imageFilesystems, containerFilesystems } = await suite.daemon.images.imageFsInfo();
    expect(containerFilesystems).toHaveLength(1);
    return imageFilesystems[0]!;
  };
  const before = await info();
  expect((await stat(before.fsId!.mountpoint)).isDirectory()).toBe(true);
  expect(before.timestamp).toBeGreaterThan(1_700_000_000_000_000_000n);
  const files = [{ path: 'big', content: Buffer.alloc(3 << 20, 'x') }];
  await suite.add('big', busyboxImage({ files }));
  const after = await info();
  expect(after.usedBytes!.value - before.usedBytes!.value).toBeGreaterThanOrEqual(3n << 20n);
  expect(after.inodesUsed!.value).toBeGreaterThan(before.inodesUsed!.value);
});

test('a registry that wants a login gets it from the request', async () => {
  const image = `${locked.host}/private:1`;
  const pullWith = (auth: object) => codeOf(pull(image, { auth }));
  expect(await codeOf(pull(image))).toBe('UNAUTHENTICATED');
  expect(await pullWith({ username: 'ada', password: 'wrong' })).toBe('UNAUTHENTICATED');
  expect(await find(image)).toBeUndefined();
  expect(await pullWith({ username: 'ada', password: 's3cret' })).toBe('OK');
  const auth = Buffer.from('ada:s3cret').toString('base64');
  expect(await pullWith({ auth })).toBe('OK');
  expect(await pullWith({ auth, serverAddress: locked.host })).toBe('OK');
  expect(await pullWith({ auth, serverAddress: 'other.example' })).toBe('UNAUTHENTICATED');
  expect(suite.daemon.log).not.toContain('s3cret');
  expect(suite.daemon.log).not.toContain(auth);
});

test('what cannot be pulled', async () => {
  const { host } = suite.registry;
  const failure = (image: string) => codeOf(pull(image));
  expect(await codeOf(suite.daemon.images.pullImage())).toBe('INVALID_ARGUMENT');
  expect(await failure('')).toBe('INVALID_ARGUMENT');
  for (const bad of [
    `${host}/UPPER`,
    `${host}/a:b:c`,
    `${host}/x@sha256:12`,
    `${host}/../x`,
    'a b',
  ]) {
    expect(await failure(bad), bad).toBe('INVALID_ARGUMENT');
  }
  expect(await failure(`${host}/no-such-image:1`)).toBe('NOT_FOUND');
  expect(await failure(`${host}/busybox:no-such-tag`)).toBe('NOT_FOUND');
  expect(await failure(`${host}/busybox@sha256:${'1'.repeat(64)}`)).toBe('NOT_FOUND');
  const nobody = pull('127.0.0.1:1/x:1');
  await expect(nobody).rejects.toMatchObject({
    details: expect.stringMatching(/^RegistryUnavail/),
  });
});

test('names that are empty or none', async () => {
  const { images } = suite.daemon;
  expect(await codeOf(images.imageStatus())).toBe('INVALID_ARGUMENT');
  expect(await codeOf(images.imageStatus({ image: { image: '' } }))).toBe('INVALID_ARGUMENT');
  expect(await codeOf(images.removeImage())).toBe('INVALID_ARGUMENT');
  expect(await find('no-such-image')).toBeUndefined();
  expect(await find(`sha256:${'2'.repeat(64)}`)).toBeUndefined();
  expect(await codeOf(images.imageStatus({ image: { image: 'UPPER' } }))).toBe('INVALID_ARGUMENT');
});

test('a pull whose deadline is over ends, and the next one works', async () => {
  const files = [{ path: 'big', content: Buffer.alloc(6 << 20, 'y') }];
  const { image, repository } = await push('deadline', ['1'], busyboxImage({ files }));
  const name = `${repository}:1`;
  const call = suite.daemon.images.pullImage({ image: { image: name } }, { timeout: 1 });
  expect(await codeOf(call)).toBe('DEADLINE_EXCEEDED');
  expect((await pull(name)).imageRef).toBe(image.id);
});
