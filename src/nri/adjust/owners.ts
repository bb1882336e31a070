import { KeelsonError } from '../../base/index.ts';
import { Field, FieldOwners, fieldToJSON, OwningPlugins } from '../../gen/nri/v1alpha1/api.ts';
import type { Claim } from './claims.ts';

/** Which plugin set what, of the containers that one request is about. */
export class Owners {
  readonly #owners = new Map<string, Map<string, { claim: Claim; plugin: string }>>();

  /** Fails with ABORTED, and names both, if another plugin has set the same. */
  claim(containerId: string, claims: readonly Claim[], plugin: string): void {
    // A copy: of claims that fail none shall hold.
    const owners = new Map(this.#owners.get(containerId));
    for (const claim of claims) {
      const { field, key } = claim;
      const name = `${field}/${key ?? ''}`;
      const owner = owners.get(name)?.plugin;
      if (claim.removal) {
        owners.delete(name);
      } else if (owner === undefined || owner === plugin) {
        owners.set(name, { claim, plugin });
      } else if (field === Field.OciHooks) {
        // Hooks add up.
        owners.set(name, { claim, plugin: `${owner},${plugin}` });
      } else {
        const what = key === undefined ? fieldToJSON(field) : `${fieldToJSON(field)} "${key}"`;
        throw new KeelsonError('ABORTED', `Cannot adjust container "${containerId}"`, {
          reason: `NRI plugins "${owner}" and "${plugin}" both set ${what}`,
          hint: 'remove one of them, or configure them not to contend',
        });
      }
    }
    this.#owners.set(containerId, owners);
  }

  /** As plugins that validate adjustments get to know it. */
  toMessage(): OwningPlugins {
    const containers = [...this.#owners].map(([id, owners]): [string, FieldOwners] => {
      const fields: FieldOwners = { simple: {}, compound: {} };
      for (const { claim, plugin } of owners.values()) {
        if (claim.key === undefined) {
          fields.simple[claim.field] = plugin;
        } else {
          const compound = fields.compound[claim.field] ?? { owners: {} };
          compound.owners[claim.key] = plugin;
          fields.compound[claim.field] = compound;
        }
      }
      return [id, FieldOwners.fromPartial(fields)];
    });
    return OwningPlugins.fromPartial({ owners: Object.fromEntries(containers) });
  }
}
