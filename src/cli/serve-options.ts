import type { Command } from 'commander';
import type { ConfigFlags, ConfigSources } from '../config/index.ts';
import { repeated } from './filters.ts';

/** The flags of `serve`, which `config dump` and `config check` take as well. */
export interface ServeOptions extends ConfigFlags {
  config?: string;
}

export function serveOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration (default: /etc/keelson/config.toml if there)')
    .option('--root <dir>', 'for what survives a boot: images (default: /var/lib/keelson)')
    .option('--state <dir>', 'for what dies with it: records, sockets (default: /run/keelson)')
    .option('--listen <uri>', 'where CRI listens: unix:///PATH or tcp://ADDRESS:PORT', repeated)
    .option('--image-listen <uri>', 'where the image service listens in addition')
    .option('--cni-conf-dir <dir>', 'network configurations (default: /etc/cni/net.d)')
    .option(
      '--cni-bin-dir <dirs>',
      'plugins, separated by ":" (default: /opt/cni/bin:/usr/lib/cni)',
    )
    .option('--registry-config-dir <dirs>', 'HOST/hosts.toml of registries, separated by ":"')
    .option('--default-network', 'an embedded bridge while there is no network configuration')
    .option('--stream-address <ip>', 'where exec, attach and port-forward are (default: 127.0.0.1)')
    .option('--stream-port <port>', 'its port, 0 for any free one (default: 0)')
    .option('--log-level <level>', 'trace, debug, info, warn, error or silent (default: info)');
}

/** Where the configuration comes from: the flags, the environment and the files. */
export function configSources(
  { config, ...flags }: ServeOptions,
  env: Readonly<Record<string, string | undefined>>,
): ConfigSources {
  const file = config ?? env['KEELSON_CONFIG'];
  return { flags, env, ...(file ? { file } : {}) };
}
