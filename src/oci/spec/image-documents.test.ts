import { describe, expect, test } from 'vitest';
import { chainIds, digestOf, isDigest, parseDigest, verifyDigest } from './digest.ts';
import { imageUser, parseImageConfig } from './image-config.ts';
import { parseManifest } from './image-manifest.ts';
import { layerKind, MEDIA_TYPE } from './image-media-types.ts';

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const DIGEST = digestOf(Buffer.from('x'));
const descriptor = { mediaType: MEDIA_TYPE.ociConfig, digest: DIGEST, size: 1 };

describe('digests', () => {
  test('of known content', () => {
    expect(digestOf(Buffer.from('{}'))).toBe(
      'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    );
    expect(digestOf(Buffer.from('{}'), 'sha512')).toHaveLength('sha512:'.length + 128);
  });

  test.each([
    'sha256:../../etc',
    'sha256:',
    'md5:aa',
    `sha256:${'A'.repeat(64)}`,
    `sha512:${'a'.repeat(64)}`,
    '',
  ])('"%s" is none', (text) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  test('chain ids', () => {
    const [a, b] = [digestOf(Buffer.from('a')), digestOf(Buffer.from('b'))];
    expect(chainIds([])).toEqual([]);
    expect(chainIds([a, b])).toEqual([a, digestOf(Buffer.from(`${a} ${b}`))]);
  });

  test('other content is told', () => {
    expect(() => verifyDigest(Buffer.from('y'), DIGEST, 'it')).toThrow(
      expect.objectContaining({ code: 'DATA_LOSS' }),
    );
  });
});

describe('manifests', () => {
  const manifest = { schemaVersion: 2, config: descriptor, layers: [] };

  test('null means absent, unknown fields are let through', () => {
    const document = parseManifest(
      json({ ...manifest, layers: null, annotations: null, mediaType: null, future: 1 }),
      MEDIA_TYPE.ociManifest,
    );
    expect(document).toMatchObject({ kind: 'manifest', manifest: { layers: [] } });
  });

  test('what it is, without a type that says so', () => {
    expect(parseManifest(json({ schemaVersion: 2, manifests: [] }), undefined).kind).toBe('index');
    expect(parseManifest(json(manifest), 'text/plain').kind).toBe('manifest');
    expect(
      parseManifest(json({ schemaVersion: 2, manifests: [] }), MEDIA_TYPE.dockerList).kind,
    ).toBe('index');
  });

  test.each<[string, object, string | undefined]>([
    ['both kinds at once', { ...manifest, manifests: [] }, undefined],
    [
      'another type than served',
      { ...manifest, mediaType: MEDIA_TYPE.ociIndex },
      MEDIA_TYPE.ociManifest,
    ],
    ['schema version 3', { ...manifest, schemaVersion: 3 }, undefined],
    ['no configuration', { schemaVersion: 2, layers: [] }, undefined],
    ['a size with a fraction', { ...manifest, config: { ...descriptor, size: 1.5 } }, undefined],
    ['layers that are no list', { ...manifest, layers: 'x' }, undefined],
  ])('%s is refused', (_, value, mediaType) => {
    expect(() => parseManifest(json(value), mediaType)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  test.each([
    ['application/vnd.oci.image.layer.v1.tar', 'tar'],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 'tar'],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'tar'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'foreign'],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'foreign'],
    ['application/vnd.oci.image.layer.v1.tar+encrypted', 'unknown'],
    ['', 'unknown'],
  ])('layer type "%s" is %s', (type, kind) => {
    expect(layerKind(type)).toBe(kind);
  });
});

describe('configurations', () => {
  const rootfs = { type: 'layers', diff_ids: [DIGEST] };

  test("Docker's, with its own fields and nulls", () => {
    const config = parseImageConfig(
      json({
        architecture: 'amd64',
        os: 'linux',
        rootfs,
        config: {
          Env: null,
          Cmd: ['sh'],
          Healthcheck: { Test: ['NONE'] },
          OnBuild: null,
          Volumes: { '/data': {} },
        },
        history: [{ created_by: 'x', empty_layer: true }],
        container_config: {},
      }),
    );
    expect(config.config).toMatchObject({ Cmd: ['sh'], Volumes: { '/data': {} } });
    expect(config.config?.Env).toBeUndefined();
  });

  test.each<[string, object]>([
    ['no layers', {}],
    ['a digest that is a path', { rootfs: { type: 'layers', diff_ids: ['../x'] } }],
    ['a command that is a string', { rootfs, config: { Cmd: 'sh' } }],
    ['environment of numbers', { rootfs, config: { Env: [1] } }],
  ])('%s is refused', (_, value) => {
    expect(() => parseImageConfig(json(value))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  test.each<[string | undefined, object]>([
    [undefined, {}],
    ['', {}],
    ['1000', { uid: 1000 }],
    ['0:0', { uid: 0 }],
    ['www-data', { username: 'www-data' }],
    ['www-data:33', { username: 'www-data' }],
    [':5', {}],
  ])('user %j', (User, expected) => {
    expect(imageUser(parseImageConfig(json({ rootfs, config: { User } })))).toEqual(expected);
  });
});
