import { call, Problem } from "../node_api.ts";
import type { NodeView } from "../views.ts";

/**
 * Opens the UI of a peer by a single-use login URL, in a new tab if Ctrl or Cmd is held.
 *
 * @throws {Problem} where the peer gives no such address.
 */
export async function signOnTo(node: NodeView, event: MouseEvent): Promise<void> {
  const wantsTab = event.ctrlKey || event.metaKey;
  // Opened before the response: browsers block windows that are not opened by a click.
  const tab = wantsTab ? globalThis.open("about:blank") : null;
  try {
    const { url } = await call<{ url: string }>("POST", "/api/cluster/peer_session", {
      body: { node_id: node.id },
    });
    // The URL comes from the peer: accept only http and https, never javascript:.
    if (!/^https?:\/\//.test(url)) throw new Problem(0, `${node.name} gave no web address`);
    if (tab === null) return location.assign(url);
    tab.opener = null;
    tab.location.href = url;
  } catch (error) {
    tab?.close();
    throw error;
  }
}
