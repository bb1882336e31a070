import { KeelsonError } from '../../base/index.ts';

/** A device by its qualified name, `vendor.com/class=name`. */
export interface DeviceName {
  /** `vendor.com/class` */
  kind: string;
  name: string;
}

// Letters at the beginning, letters or digits at the end.
const VENDOR = '[A-Za-z](?:[\\w.-]*[A-Za-z0-9])?';
const CLASS = '[A-Za-z](?:[\\w.-]*[A-Za-z0-9])?';
const DEVICE = '[A-Za-z0-9](?:[\\w.:-]*[A-Za-z0-9])?';
const KIND = new RegExp(`^${VENDOR}/${CLASS}$`);
const NAME = new RegExp(`^${DEVICE}$`);
const QUALIFIED = new RegExp(`^(${VENDOR}/${CLASS})=(${DEVICE})$`);

/** The longest line that a name is looked for in; patterns need not see more. */
const LONGEST = 1024;

export function isKind(text: string): boolean {
  return text.length <= LONGEST && KIND.test(text);
}

export function isDeviceName(text: string): boolean {
  return text.length <= LONGEST && NAME.test(text);
}

/** Fails with INVALID_ARGUMENT for what is no qualified name of a device. */
export function parseDeviceName(text: string): DeviceName {
  const [, kind, name] = (text.length <= LONGEST && QUALIFIED.exec(text)) || [];
  if (kind !== undefined && name !== undefined) return { kind, name };
  throw new KeelsonError('INVALID_ARGUMENT', `Cannot use CDI device "${text}"`, {
    reason: 'it is not a qualified name, vendor/class=name',
  });
}

/** Annotations that name devices begin so; what follows is the requester's. */
const ANNOTATION = 'cdi.k8s.io/';

/** The devices that annotations of a container name: each value is a list with commas. */
export function annotatedDevices(annotations: Readonly<Record<string, string>>): string[] {
  return Object.entries(annotations)
    .filter(([key]) => key.startsWith(ANNOTATION))
    .flatMap(([, value]) => value.split(','))
    .map((name) => name.trim());
}
