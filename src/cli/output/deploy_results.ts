import type { Env } from "../../base/env.ts";
import type { PeerResult } from "../../deploy/peer.ts";

/** One peer for `--json`. */
export function peerView({ peer, state, steps, error, next, roles }: PeerResult) {
  return {
    peer,
    state,
    changes: steps.map(({ kind, why }) => ({ what: kind, why })),
    error: error ?? null,
    next: next ?? null,
    roles,
  };
}

/** One peer for people. `dry`: nothing was changed. */
export function peerLine(
  { peer, state, steps, error, roles }: PeerResult,
  width: number,
  dry: boolean,
) {
  const what = steps.map(({ kind, why }) => `${kind} (${why})`).join(", ");
  const presents = roles.filter(({ presents }) => presents).map(({ role }) => role);
  const text = {
    unchanged: "nothing to do",
    changed: `${dry ? "would change: " : ""}${what}` +
      (presents.length > 0 ? `; agent ${presents.join(" and ")} presents it` : ""),
    failed: error ?? "",
    unreachable: error ?? "",
    skipped: error ?? "",
  }[state];
  return `${peer.padEnd(width)}  ${state.padEnd("unreachable".length)}  ${text}`;
}

/** What a person does now, each remedy once, with the peers that need it. */
export async function printNext(results: PeerResult[], env: Env): Promise<void> {
  const byNext = new Map<string, string[]>();
  for (const { peer, next } of results) {
    if (next !== undefined) byNext.set(next, [...byNext.get(next) ?? [], peer]);
  }
  for (const [next, peers] of byNext) {
    await env.stderr.write(`next for ${peers.join(", ")}: ${next}\n`);
  }
}
