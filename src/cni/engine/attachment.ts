import {
  CNI_ERROR,
  CniError,
  checkContainerId,
  checkInterfaceName,
  formatArgs,
  type JsonReader,
} from '../spec/index.ts';

/** A container's place on a network: what a runtime tells the plugins of it. */
export interface Attachment {
  /** CNI_CONTAINERID. */
  containerId: string;
  /** CNI_NETNS: path of the network namespace, empty when it is gone. */
  netns: string;
  /** CNI_IFNAME. */
  ifname: string;
  /** CNI_ARGS, in order. */
  args: readonly (readonly [string, string])[];
  /** Arguments by capability (`portMappings`, `bandwidth` …). A plugin gets those that its configuration asks for. */
  capabilityArgs: Readonly<Record<string, unknown>>;
}

/** Names one attachment of one network, as libcni names its cache files. */
export function attachmentFileName(
  network: string,
  attachment: Pick<Attachment, 'containerId' | 'ifname'>,
): string {
  return `${network}-${attachment.containerId}-${attachment.ifname}`;
}

/** Throws a `CniError` (invalid environment) if a plugin could not be called with these values. */
export function checkAttachment(network: string, attachment: Attachment): void {
  checkContainerId(attachment.containerId);
  checkInterfaceName(attachment.ifname);
  formatArgs(attachment.args);
  if (attachment.netns.includes('\0')) {
    throw new CniError(CNI_ERROR.INVALID_ENVIRONMENT, 'Invalid CNI_NETNS', {
      details: 'it holds a NUL byte',
    });
  }
  // The longest file name, less the ending of a temporary file.
  if (Buffer.byteLength(attachmentFileName(network, attachment)) > 255 - 17) {
    throw new CniError(
      CNI_ERROR.INVALID_ENVIRONMENT,
      `Invalid attachment to network "${network}"`,
      {
        details: 'network name and container id are too long together',
      },
    );
  }
}

/** One pair of CNI_ARGS, as it is kept in files. */
export function readPair(reader: JsonReader): [string, string] {
  const [key, value] = reader.strings();
  if (key === undefined || value === undefined) throw reader.error('expected key and value');
  return [key, value];
}
