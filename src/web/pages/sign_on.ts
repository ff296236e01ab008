import { call, Problem } from "../node_api.ts";
import type { NodeView } from "../views.ts";

/**
 * Opens the UI of a peer, signed in by an address that works once. With Ctrl or Cmd held it opens
 * in a new tab.
 *
 * @throws {Problem} where the peer gives no such address.
 */
export async function signOnTo(node: NodeView, event: MouseEvent): Promise<void> {
  const wantsTab = event.ctrlKey || event.metaKey;
  // Opened before the answer: a browser blocks windows that no click opens.
  const tab = wantsTab ? globalThis.open("about:blank") : null;
  try {
    const { url } = await call<{ url: string }>("POST", "/api/cluster/peer_session", {
      body: { node_id: node.id },
    });
    // The address comes from the peer: it may lead to a page, and run nothing in this one.
    if (!/^https?:\/\//.test(url)) throw new Problem(0, `${node.name} gave no web address`);
    if (tab === null) return location.assign(url);
    tab.opener = null;
    tab.location.href = url;
  } catch (error) {
    tab?.close();
    throw error;
  }
}
