import {
  CNI_ERROR,
  CniError,
  type CniResult,
  type PluginCall,
  type PluginInvoker,
} from '../spec/index.ts';
import { readConfig } from './plugin-definition.ts';

/** The IPAM plugin that a configuration delegates to; none means no addresses. */
export class Ipam {
  readonly type: string | undefined;
  readonly #call: PluginCall;
  readonly #delegates: PluginInvoker;

  constructor(call: PluginCall, delegates: PluginInvoker) {
    this.type = readConfig(call).get('ipam')?.get('type')?.string() || undefined;
    this.#call = call;
    this.#delegates = delegates;
  }

  /**
   * Gets addresses, runs `use` with them, and gives them back if that fails. The result
   * is the caller's own, to add to.
   */
  async withAddresses<T>(use: (result: CniResult) => Promise<T>): Promise<T> {
    const result = await this.#invoke('ADD');
    try {
      if (result === undefined || result.ips.length === 0) {
        throw new CniError(CNI_ERROR.INTERNAL, `IPAM plugin "${this.type}" answered no address`);
      }
      return await use(structuredClone(result));
    } catch (error) {
      // What went wrong first is what the caller must hear of.
      await this.#release().catch(() => {});
      throw error;
    }
  }

  /**
   * Removes the interface and gives its addresses back, in this order: nobody gets an
   * address while the old interface has it. Only DHCP needs the interface to say so.
   */
  async releaseAfter(remove: () => Promise<void>): Promise<void> {
    if (this.type !== 'dhcp') await remove();
    await this.#release();
    if (this.type === 'dhcp') await remove();
  }

  async #release(): Promise<void> {
    await this.#invoke('DEL');
  }

  async check(): Promise<void> {
    await this.#invoke('CHECK');
  }

  async gc(): Promise<void> {
    await this.#invoke('GC');
  }

  async status(): Promise<void> {
    await this.#invoke('STATUS');
  }

  async #invoke(command: PluginCall['command']): Promise<CniResult | undefined> {
    if (this.type === undefined) return undefined;
    return this.#delegates.invoke(this.type, { ...this.#call, command });
  }
}
