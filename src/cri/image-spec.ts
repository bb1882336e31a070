import { ImageSpec } from '../gen/runtime/v1/api.ts';
import type { ImageReference } from '../pods/index.ts';
import { required } from './invalid.ts';

/** The reference or id that an ImageSpec names. */
export function toImageReference(field: string, given: ImageSpec | undefined): ImageReference {
  const spec = required(field, given);
  return {
    image: required(`${field}.image`, spec.image),
    userSpecifiedImage: spec.userSpecifiedImage,
    annotations: spec.annotations,
    runtimeHandler: spec.runtimeHandler,
    imageRef: spec.imageRef,
  };
}

export function fromImageReference(reference: ImageReference): ImageSpec {
  return ImageSpec.fromPartial(reference);
}
