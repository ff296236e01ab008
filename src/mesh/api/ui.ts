/** The pages and their files: open, since they hold no data. */
import type { ApiContext, Node } from "./context.ts";
import { logIn } from "./session.ts";

/** By path: "/", "/assets/app.js", … */
export type Assets = Record<string, { type: string; etag: string; gzip: Uint8Array<ArrayBuffer> }>;

/** The pages load only from the node itself; nothing may frame them. */
export const pageHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
};

/** Answers paths outside of `/api`; undefined where there is nothing. */
export async function servePage(
  context: ApiContext,
  node: Node,
  assets: Assets,
): Promise<Response | undefined> {
  const { path, method } = context.req;
  if (method !== "GET" && method !== "HEAD") return undefined;
  // A login token is for one use, so looking at the headers must not be it.
  const token = path === "/" && method === "GET" ? context.req.query("token") : undefined;
  if (token !== undefined) return logInByUrl(context, node, token);
  const asset = Object.hasOwn(assets, path) ? assets[path] : undefined;
  if (asset === undefined) return undefined;
  const headers = {
    ...pageHeaders,
    etag: asset.etag,
    // Asked for again each time, and answered by 304: an update shows at once.
    "cache-control": "no-cache",
    vary: "accept-encoding",
  };
  if (context.req.header("if-none-match") === asset.etag) return context.body(null, 304, headers);
  if (/\bgzip\b/.test(context.req.header("accept-encoding") ?? "")) {
    return context.body(asset.gzip, 200, {
      ...headers,
      "content-type": asset.type,
      "content-encoding": "gzip",
    });
  }
  const plain = new Blob([asset.gzip]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = await new Response(plain).arrayBuffer();
  return context.body(bytes, 200, { ...headers, "content-type": asset.type });
}

/**
 * A page that refreshes itself to `/`: after a redirect a browser that came by a link from another
 * site would not send the cookie, which is `SameSite=Strict`. It also drops the token from the
 * address.
 */
function logInByUrl(context: ApiContext, node: Node, token: string): Response {
  const headers = { ...pageHeaders, "cache-control": "no-store" };
  if (node.noAuth || logIn(context, node, token)) {
    return context.html(page("Logging in…", '<p><a href="/">Continue</a></p>'), 200, {
      ...headers,
      refresh: "0; url=/",
    });
  }
  const help = "<p>Each login address works once and for a short time. On the node, " +
    '<code>agent token url</code> prints a new one.</p><p><a href="/">Log in with a token</a></p>';
  return context.html(
    page("This login address was used already, or has expired", help),
    401,
    { ...headers, "www-authenticate": "Bearer" },
  );
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title} · agent</title>` +
    '<meta name="viewport" content="width=device-width"><meta name="color-scheme" ' +
    'content="light dark"><link rel="icon" href="/favicon.svg" type="image/svg+xml">' +
    '<link rel="stylesheet" href="/assets/app.css">' +
    `<main class="login"><h1>${title}</h1>${body}</main></html>`;
}
