/** The least that answers JSON over HTTPS here: `bare_https.ts CERT KEY CA`; says its port. */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";

const [cert, key, ca] = Deno.args.map((file) => Deno.readTextFileSync(file));
const body = JSON.stringify({
  status: "ok",
  role: "node",
  version: "0.1.0",
  node_id: "00000000-0000-4000-8000-000000000000",
  name: "bare",
});
const server = createServer(
  { cert: cert!, key: key!, ca: ca!, requestCert: true, rejectUnauthorized: false },
  (_, response) => {
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": body.length,
      "cache-control": "no-store",
    });
    response.end(body);
  },
);
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  Deno.stdout.writeSync(new TextEncoder().encode(`${port}\n`));
});
