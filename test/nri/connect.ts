import { afterEach } from 'vitest';
import type { Suite } from '../cri/suite.ts';
import { ConnectedPlugin, type PluginAnswers, pluginsOf, waitFor } from '../harness/index.ts';

/** Answers a function that connects plugins which are gone after each test, like all pods. */
export function connector(
  suite: Suite,
): (name: string, answers?: PluginAnswers) => Promise<ConnectedPlugin> {
  const plugins: ConnectedPlugin[] = [];
  afterEach(async () => {
    for (const plugin of plugins.splice(0)) await plugin[Symbol.asyncDispose]();
    await waitFor('plugins to be gone', async () => (await pluginsOf(suite.daemon)).length === 0);
    await suite.daemon.removePods();
  });
  return async (name, answers = {}) => {
    const plugin = await ConnectedPlugin.connect(suite.daemon, name, answers);
    plugins.push(plugin);
    return plugin;
  };
}
