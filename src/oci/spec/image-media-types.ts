/** Media types of images (image-spec media-types.md) and of Docker's schema 2. */
export const MEDIA_TYPE = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
} as const;

const OCI_FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
const DOCKER_FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar';
const COMPRESSIONS = ['', '+gzip', '.gzip', '+zstd', '.zstd'];

/** What a manifest is asked for as. */
export const MANIFEST_ACCEPT = [
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.ociIndex,
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.dockerList,
].join(', ');

export function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociIndex || mediaType === MEDIA_TYPE.dockerList;
}

export function isManifestType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociManifest || mediaType === MEDIA_TYPE.dockerManifest;
}

/** The obsolete manifest format of Docker's first registry, which no id can be derived from. */
export function isSchema1Type(mediaType: string): boolean {
  return /^application\/vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)$/.test(mediaType);
}

export function isImageConfigType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociConfig || mediaType === MEDIA_TYPE.dockerConfig;
}

/**
 * What a layer's media type says of it. The compression is found by the blob's first
 * bytes instead: registries hold layers whose type is wrong about it.
 */
export function layerKind(mediaType: string): 'tar' | 'foreign' | 'unknown' {
  const is = (base: string) => COMPRESSIONS.some((suffix) => mediaType === base + suffix);
  if (is(MEDIA_TYPE.ociLayer) || is(MEDIA_TYPE.dockerLayer)) return 'tar';
  if (is(OCI_FOREIGN) || is(DOCKER_FOREIGN)) return 'foreign';
  return 'unknown';
}
