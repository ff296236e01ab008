/** The proxies of docs/servers.md, configured as it is printed there, in front of a node. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";

const name = "agent.example.org";
const site = `https://${name}`;
const blocks = await printedBlocks("docs/servers.md");
/** The printed commands: plain HTTP to the proxy, and TLS to it. */
const [plainNode, tlsNode] = blocks.of("Behind a proxy") as [string, string];

interface Proxy {
  name: string;
  program: string;
  start: string;
  /** What is printed for both forms, by file. */
  files: (isTls: boolean) => Record<string, string>;
}

const [nginx, nginxTls] = blocks.of("nginx") as [string, string];
const [caddy, caddyTls] = blocks.of("Caddy") as [string, string];
const [traefik, route, routeTls] = blocks.of("Traefik") as [string, string, string];

const proxies: Proxy[] = [
  {
    name: "nginx",
    program: "nginx",
    start: 'nginx -g "daemon off;"',
    files: (isTls) => ({
      "/etc/nginx/conf.d/agent.conf": isTls ? nginx.replace(/^ *proxy_pass.*$/m, nginxTls) : nginx,
    }),
  },
  {
    name: "Caddy",
    program: "caddy",
    start: "caddy run --config /etc/caddy/Caddyfile",
    files: (isTls) => ({
      // The internet does not know the name.
      "/etc/caddy/Caddyfile": (isTls ? caddyTls : caddy)
        .replace("{\n", `{\n  tls /etc/ssl/${name}.crt /etc/ssl/${name}.key\n`),
    }),
  },
  {
    name: "Traefik",
    program: "traefik",
    start: "traefik --configFile=/etc/traefik/traefik.yml",
    files: (isTls) => ({
      "/etc/traefik/traefik.yml": traefik,
      "/etc/traefik/agent.yml": isTls ? route.replace(/^http:\n[^]*/m, () => routeTls) : route,
    }),
  },
];

for (const proxy of proxies) {
  Deno.test({
    name: `docs/servers.md: a node behind ${proxy.name}`,
    ...await component(proxy.name, ...hostsCheck, programs(proxy.program, "curl")),
    async fn() {
      await using hosts = await startHosts(["a", "laptop"]);
      const { a, laptop } = hosts;
      await a.ok(
        `agent tls init && agent tls mint --hostname ${name} -o proxy && ` +
          `cp proxy/server.crt /etc/ssl/${name}.crt && cp proxy/server.key /etc/ssl/${name}.key`,
      );
      await laptop.ok(
        `scp -q a.lan:/etc/agent/tls/ca/ca.crt ca.crt && echo '${a.address} ${name}' >>/etc/hosts`,
      );
      for (const isTls of [false, true]) {
        await using _proxy = await startProxy(a, proxy, isTls);
        {
          await using _node = await a.start(isTls ? tlsNode : plainNode);
          await assertServed(a, laptop);
        }
        // The same proxy, which the node was not told to trust.
        const untold = (isTls ? tlsNode : plainNode).replace(/ --node\.trusted-proxies=\S+/, "");
        await using _node = await a.start(untold);
        await assertNotTrusted(a, laptop, isTls);
      }
    },
  });
}

async function startProxy(host: Host, proxy: Proxy, isTls: boolean): Promise<AsyncDisposable> {
  for (const [path, text] of Object.entries(proxy.files(isTls))) {
    await host.ok(`mkdir -p "$(dirname ${path})" && cat >${path}`, text);
  }
  return await host.serve(`sh -c 'echo started; exec ${proxy.start}'`, /started/);
}

/** Prints the status; the body and the headers are in the files `body` and `headers`. */
async function curl(host: Host, path: string, options = ""): Promise<number> {
  const { stdout, stderr } = await host.run(
    `curl -sS --cacert ca.crt -b jar -c jar -o body -D headers -w '%{http_code}' ${options} ${site}${path}`,
  );
  assert.match(stdout, /^\d+$/, stderr);
  return Number(stdout);
}

async function assertServed(a: Host, laptop: Host): Promise<void> {
  await eventually(20_000, async () => await curl(laptop, "/") === 200);
  assert.match(await laptop.ok("gunzip -cf <body || cat body"), /<title>agent/);
  assert.equal(await curl(laptop, "/api/cluster"), 401);
  const { url } = JSON.parse(await a.ok("agent token url --json")) as { url: string };
  assert.equal(await curl(laptop, `/${new URL(url).search}`), 200);
  const cookie = /^set-cookie: (.*)$/im.exec(await laptop.ok("cat headers"))?.[1] ?? "";
  assert.match(cookie, /^__Host-agent-\w+=.*; HttpOnly; Secure; SameSite=Strict/);
  assert.equal(await curl(laptop, "/api/cluster"), 200);

  // An event is there while its stream stays open. A proxy that gathers a block first sends nothing.
  const stream = await laptop.run(
    `timeout 20 curl -sSN --cacert ca.crt -b jar ${site}/api/events | sed '/^data: ..*}$/q'`,
  );
  assert.match(stream.stdout, /event: cluster\ndata: \{/, stream.stderr);

  const change = "-X POST /api/session/url".split(" ");
  const from = (origin: string) =>
    curl(laptop, change[2]!, `${change.slice(0, 2).join(" ")} -H 'Origin: ${origin}'`);
  assert.equal(await from(site), 200);
  assert.equal(await from("https://evil.example"), 403);

  // Wrong tokens count for the caller, who cannot pretend to be another.
  for (let guess = 0, status = 0; status !== 429; guess++) {
    assert.ok(guess < 30, `${status} after 30 wrong tokens`);
    status = await curl(laptop, "/?token=wrong", `-H 'X-Forwarded-For: 192.0.2.${guess}'`);
  }
  const own = `curl -sS --cacert /etc/agent/tls/ca/ca.crt --resolve ${name}:443:127.0.0.1`;
  const status = await a.ok(`${own} -o body -w '%{http_code}' '${site}/?token=wrong'`);
  assert.equal(status, "401");
}

/** What a proxy says counts only from addresses in node.trusted_proxies. */
async function assertNotTrusted(a: Host, laptop: Host, isTls: boolean): Promise<void> {
  await laptop.ok("rm -f jar");
  await eventually(20_000, async () => await curl(laptop, "/") !== 502);
  const token = (await a.ok("agent token show")).trim();
  const post = `-X POST -H 'Authorization: Bearer ${token}' -H 'Origin: ${site}'`;
  const status = await curl(laptop, "/api/session/url", post);
  if (!isTls) assert.equal(status, 403, "it calls by HTTP, and the page came by HTTPS");
  for (let guess = 0, wrong = 0; wrong !== 429; guess++) {
    assert.ok(guess < 30);
    wrong = await curl(laptop, "/?token=wrong", `-H 'X-Forwarded-For: 192.0.2.${guess}'`);
    if (wrong === 421) return; // The proxy did not pass on the name, and its word does not count.
  }
  const own = `curl -sS --cacert /etc/agent/tls/ca/ca.crt --resolve ${name}:443:127.0.0.1`;
  // Time gives guesses back, on a busy machine one of them before this; alone it would have ten.
  const guesses: string[] = [];
  while (guesses.at(-1) !== "429" && guesses.length < 4) {
    guesses.push(await a.ok(`${own} -o body -w '%{http_code}' '${site}/?token=wrong'`));
  }
  assert.equal(guesses.at(-1), "429");
}

/** The blocks of code of a document, by the heading above them. */
async function printedBlocks(file: string) {
  const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
  return {
    of(title: string): string[] {
      const [, section = ""] = text.split(new RegExp(`^#+ ${title}\n`, "m"));
      const [own = ""] = section.split(/^#+ /m);
      return [...own.matchAll(/^```\w+\n([^]*?)^```$/gm)].map(([, block]) => block!);
    },
  };
}
