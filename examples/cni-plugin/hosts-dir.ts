/**
 * A CNI plugin: names of pods for the host. It stands behind the plugins that make a
 * network and writes one hosts file for each pod, which dnsmasq reads by itself:
 *
 *     { "type": "hosts-dir", "dir": "/run/pod-hosts", "domain": "pods.example" }
 *     dnsmasq --hostsdir=/run/pod-hosts/mynet
 */
import { access, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addressOfCidr,
  CNI_ERROR,
  CniError,
  type CniResult,
  checkFailed,
  definePlugin,
  type PluginCall,
  readArgs,
  readConfig,
  requirePrevResult,
  servePlugin,
} from 'keelson/cni/plugin';

const plugin = definePlugin('hosts-dir', {
  async add(call) {
    const result = requirePrevResult(call);
    await mkdir(directoryOf(call), { recursive: true });
    await writeFile(fileOf(call), hostsOf(call, result));
    return result;
  },

  async del(call) {
    await rm(fileOf(call), { force: true });
  },

  async check(call) {
    const text = await readFile(fileOf(call), 'utf8').catch(() => '');
    if (text !== hostsOf(call, requirePrevResult(call))) {
      throw checkFailed(`"${fileOf(call)}" is not as it was written`);
    }
  },

  async gc(call) {
    const valid = (call.config['cni.dev/valid-attachments'] ?? []).map(
      ({ containerID, ifname }) => `${containerID}@${ifname}`,
    );
    const names = await readdir(directoryOf(call)).catch(() => []);
    for (const name of names.filter((each) => !valid.includes(each))) {
      await rm(join(directoryOf(call), name), { force: true });
    }
  },

  async status(call) {
    const dir = readConfig(call).required('dir').string();
    await access(dir).catch((cause: unknown) => {
      throw new CniError(CNI_ERROR.PLUGIN_NOT_AVAILABLE, `"${dir}" is not there`, { cause });
    });
  },
});

/** One line for each address: `10.1.0.5 web.default.pods.example`. */
function hostsOf(call: PluginCall, result: CniResult): string {
  const args = readArgs(call, ['K8S_POD_NAME', 'K8S_POD_NAMESPACE']);
  const pod = args.get('K8S_POD_NAME') ?? call.containerId;
  const domain = readConfig(call).get('domain')?.string();
  const name = [pod, args.get('K8S_POD_NAMESPACE'), domain].filter((part) => part).join('.');
  if (!/^[\w.-]+$/.test(name)) throw checkFailed(`"${name}" is no host name`);
  return result.ips.map(({ address }) => `${addressOfCidr(address)} ${name}\n`).join('');
}

function directoryOf(call: PluginCall): string {
  return join(readConfig(call).required('dir').string(), call.config.name);
}

/** Container id and interface are checked before: neither holds a slash. */
function fileOf(call: PluginCall): string {
  return join(directoryOf(call), `${call.containerId}@${call.ifname}`);
}

await servePlugin({ ...plugin, about: 'hosts-dir: writes hosts files of pods for dnsmasq' });
