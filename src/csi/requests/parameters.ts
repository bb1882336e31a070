import { KeelsonError } from '../../base/index.ts';
import { type SecretReference, secretReference } from '../objects/index.ts';

const PREFIX = 'csi.storage.k8s.io/';

/** What calls need secrets for, by the word in the parameters of a class. */
export const SECRET_USES = [
  'provisioner',
  'controller-publish',
  'node-stage',
  'node-publish',
  'controller-expand',
  'node-expand',
] as const;

export type SecretUse = (typeof SECRET_USES)[number];

/** Values that the names of secrets may be made of, such as `pvc.name`. */
export type TemplateValues = Readonly<Record<string, string>>;

export interface ClassParameters {
  /** For the driver: those without Kubernetes' own prefix. */
  readonly driver: Record<string, string>;
  readonly fsType: string | undefined;
  readonly secrets: Partial<Record<SecretUse, SecretReference>>;
}

/**
 * Takes the parameters of a StorageClass apart, as external-provisioner does: what begins
 * with `csi.storage.k8s.io/` is for Kubernetes. An unknown one of these is an error.
 */
export function classParameters(
  parameters: Readonly<Record<string, string>> | undefined,
  values: TemplateValues,
): ClassParameters {
  const driver: Record<string, string> = {};
  const own = new Map<string, string>();
  for (const [key, value] of Object.entries(parameters ?? {})) {
    if (key === 'fstype') own.set('fstype', value);
    else if (key.startsWith(PREFIX)) own.set(key.slice(PREFIX.length), value);
    else driver[key] = value;
  }
  const fsType = own.get('fstype');
  own.delete('fstype');
  const secrets: Partial<Record<SecretUse, SecretReference>> = {};
  for (const use of SECRET_USES) {
    const reference = takeSecret(own, use, values);
    if (reference !== undefined) secrets[use] = reference;
  }
  refuseRest(own);
  return { driver, fsType, secrets };
}

export interface SnapshotParameters {
  readonly driver: Record<string, string>;
  readonly secret: SecretReference | undefined;
  readonly listSecret: SecretReference | undefined;
}

/** The same of a VolumeSnapshotClass: `csi.storage.k8s.io/snapshotter-secret-*`. */
export function snapshotParameters(
  parameters: Readonly<Record<string, string>> | undefined,
  values: TemplateValues,
): SnapshotParameters {
  const driver: Record<string, string> = {};
  const own = new Map<string, string>();
  for (const [key, value] of Object.entries(parameters ?? {})) {
    if (key.startsWith(PREFIX)) own.set(key.slice(PREFIX.length), value);
    else driver[key] = value;
  }
  const secret = takeSecret(own, 'snapshotter', values);
  const listSecret = takeSecret(own, 'snapshotter-list', values);
  refuseRest(own);
  return { driver, secret, listSecret };
}

function refuseRest(own: ReadonlyMap<string, string>): void {
  const [unknown] = own.keys();
  if (unknown === undefined) return;
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot use parameter "${PREFIX}${unknown}"`, {
    reason: 'it is unknown',
  });
}

function takeSecret(
  own: Map<string, string>,
  use: string,
  values: TemplateValues,
): SecretReference | undefined {
  const name = own.get(`${use}-secret-name`);
  const namespace = own.get(`${use}-secret-namespace`);
  own.delete(`${use}-secret-name`);
  own.delete(`${use}-secret-namespace`);
  if (name === undefined && namespace === undefined) return undefined;
  const action = `Cannot find the ${use} secret of the class`;
  if (name === undefined || namespace === undefined) {
    const reason = 'its name and its namespace must both be given';
    throw new KeelsonError('INVALID_ARGUMENT', action, { reason });
  }
  const reference = {
    name: fill(name, values, action),
    namespace: fill(namespace, values, action),
  };
  const parsed = secretReference.safeParse(reference);
  if (parsed.success) return parsed.data;
  throw new KeelsonError('INVALID_ARGUMENT', action, {
    reason: `"${reference.namespace}/${reference.name}" is no name of a secret`,
  });
}

/** `${pvc.name}` and the like. */
function fill(template: string, values: TemplateValues, action: string): string {
  return template.replace(/\$\{([^}]*)\}/g, (_, key: string) => {
    const value = values[key];
    if (value !== undefined) return value;
    const known = Object.keys(values).map((each) => `\${${each}}`);
    throw new KeelsonError('INVALID_ARGUMENT', action, {
      reason: `there is no "\${${key}}"`,
      hint: `there are ${known.join(', ')}`,
    });
  });
}

/** What secret names of a claim may be made of. */
export function templateValues(
  volumeName: string,
  claim: {
    name: string;
    namespace?: string;
    annotations?: Readonly<Record<string, string>> | undefined;
  },
): TemplateValues {
  const annotations = Object.entries(claim.annotations ?? {}).map(([key, value]) => [
    `pvc.annotations['${key}']`,
    value,
  ]);
  return {
    'pv.name': volumeName,
    'pvc.name': claim.name,
    'pvc.namespace': claim.namespace ?? 'default',
    ...Object.fromEntries(annotations),
  };
}
