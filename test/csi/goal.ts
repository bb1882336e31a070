/** How claims, snapshots and pods shall be. */
export interface Goal {
  readonly claims: readonly GoalClaim[];
  readonly snapshots: readonly { readonly metadata: { readonly name: string } }[];
  readonly pods: readonly { readonly uid: string; readonly claim: string }[];
  /** Whether claims have the size that they ask for. */
  readonly grown: boolean;
}

export interface GoalClaim {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly resources: { readonly requests: { readonly storage: string } } };
}

export interface HostChildOptions {
  readonly directory: string;
  readonly endpoints: readonly string[];
  readonly goal: Goal;
}
