import { z } from 'zod';

/** Longest DNS subdomain, the form of most names of Kubernetes (RFC 1123). */
const LONGEST_NAME = 253;
const LONGEST_LABEL = 63;
/** Bytes of all annotations of one object together. */
const MOST_ANNOTATIONS = 256 * 1024;

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const KEY_NAME = /^[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$/;

/** The name of an object: a DNS subdomain of at most 253 characters. Never a path. */
export const objectName = z
  .string()
  .max(LONGEST_NAME, `must have at most ${LONGEST_NAME} characters`)
  .regex(SUBDOMAIN, 'must be a name of a-z, 0-9, "-" and "."');

/** The name of a namespace: a DNS label. */
export const namespaceName = z
  .string()
  .max(LONGEST_LABEL, `must have at most ${LONGEST_LABEL} characters`)
  .regex(LABEL, 'must be a name of a-z, 0-9 and "-"');

const qualifiedKey = z.string().refine(
  (key) => {
    const slash = key.indexOf('/');
    const prefix = slash < 0 ? undefined : key.slice(0, slash);
    const prefixed = prefix === undefined || (SUBDOMAIN.test(prefix) && prefix.length <= 253);
    return prefixed && KEY_NAME.test(key.slice(slash + 1));
  },
  { error: 'must be [PREFIX/]NAME with a name of at most 63 characters' },
);

export const labels = z.record(
  qualifiedKey,
  z.string().regex(LABEL_VALUE, 'must be a label value of at most 63 characters'),
);

const annotations = z
  .record(qualifiedKey, z.string())
  .refine((map) => JSON.stringify(map).length <= MOST_ANNOTATIONS, {
    error: `must have at most ${MOST_ANNOTATIONS} bytes together`,
  });

const ownerReference = z.strictObject({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
});

const common = {
  name: objectName,
  labels: labels.optional(),
  annotations: annotations.optional(),
  finalizers: z.array(qualifiedKey).optional(),
  ownerReferences: z.array(ownerReference).optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.int().optional(),
  creationTimestamp: z.string().nullish(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.int().optional(),
  // What another server noted of who changed what: `kubectl get -o yaml` shows it.
  managedFields: z.array(z.unknown()).optional(),
  selfLink: z.string().optional(),
};

/** Of objects that live in a namespace; `default` where none is named. */
export const namespacedMetadata = z.strictObject({
  ...common,
  namespace: namespaceName.default('default'),
});

/** Of objects that the whole host shares: a namespace has no meaning there. */
export const clusterMetadata = z.strictObject(common);

/** What the store has given each object by the time that anyone reads it. */
export interface Metadata {
  name: string;
  namespace?: string;
  uid: string;
  /** Decimal; grows with each change of the object. */
  resourceVersion: string;
  creationTimestamp: string;
  deletionTimestamp?: string | undefined;
  labels?: Record<string, string> | undefined;
  annotations?: Record<string, string> | undefined;
  finalizers?: string[] | undefined;
}

/** Whether a text is a name of an object, and so safe as a part of a path. */
export function objectNameOf(text: string): boolean {
  return objectName.safeParse(text).success;
}
