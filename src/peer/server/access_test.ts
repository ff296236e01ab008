import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect } from "node:http2";
import { fakeCoordinator } from "../../../tests/support/fake_coordinator.ts";
import { type Issued, makeAuthority } from "../../../tests/support/openssl.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { temporaryFolder } from "../../../tests/support/temporary.ts";
import { systemClock } from "../../base/clock.ts";
import { type CertificateRole, certificateRoles, roleUri } from "../../pki/x509/roles.ts";
import type { PeerMode } from "../../tls/mode.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { HealthService } from "../gen/grpc/health/v1/health.ts";
import { servePeer } from "../server.ts";
import { rolesByMethod } from "./access.ts";
import { reflectionV1, reflectionV1Alpha } from "./reflection.ts";

const services = [
  wire.TaskServiceService,
  wire.FleetServiceService,
  wire.StateServiceService,
  wire.WorkerServiceService,
  HealthService,
  reflectionV1,
  reflectionV1Alpha,
];
const methods = services.flatMap((service) => Object.values(service).map(({ path }) => path));

Deno.test("every method stands in the table of roles, and nothing else", () => {
  assert.deepEqual(methods.toSorted(), Object.keys(rolesByMethod).toSorted());
});

Deno.test("a worker may call what a worker needs, and nobody else may pose as one", () => {
  const mayCall = (role: CertificateRole) =>
    methods.filter((method) => rolesByMethod[method]!.includes(role));
  const work = Object.values(wire.WorkerServiceService).map(({ path }) => path);
  const open = [HealthService, reflectionV1, reflectionV1Alpha]
    .flatMap((service) => Object.values(service).map(({ path }) => path));
  assert.deepEqual(mayCall("worker").toSorted(), [...work, ...open].toSorted());
  const rest = methods.filter((method) => !work.includes(method));
  for (const role of ["client", "node", "coordinator"] as const) {
    assert.deepEqual(mayCall(role), rest, role);
  }
});

Deno.test("a role in a certificate may call what the table says, and nothing else", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const own = await ca.issue("server");
  const mode: PeerMode = { mode: "mtls", ...own, clientCaFile: ca.caFile, skipVerify: false };
  const env = { clock: systemClock, log: silentLog };
  const { signal } = new AbortController();
  const options = { host: "127.0.0.1", port: 0, mode, ...fakeCoordinator(), env };
  await using server = await servePeer(options, signal);
  const issue = (name: string, uris: string[]) =>
    ca.issue(name, { names: ["DNS:localhost", ...uris.map((uri) => `URI:${uri}`)] });
  const callers: [string, Issued, (method: string) => boolean][] = [
    ["none", await issue("none", []), () => true],
    ["unknown", await issue("unknown", ["agent:role:king"]), () => false],
    ["two", await issue("two", certificateRoles.slice(0, 2).map(roleUri)), () => false],
  ];
  for (const role of certificateRoles) {
    const issued = await issue(role, [roleUri(role)]);
    callers.push([role, issued, (method) => rolesByMethod[method]!.includes(role)]);
  }
  for (const [name, issued, isAllowed] of callers) {
    const denied = await deniedMethods(server.port, ca.caFile, issued);
    assert.deepEqual(denied, methods.filter((method) => !isAllowed(method)), `role ${name}`);
  }
});

/** gRPC's PERMISSION_DENIED. */
const permissionDenied = "7";

/** The methods that answer an empty message with PERMISSION_DENIED. */
async function deniedMethods(port: number, caFile: string, own: Issued): Promise<string[]> {
  const session = connect(`https://localhost:${port}`, {
    ca: Deno.readTextFileSync(caFile),
    cert: Deno.readTextFileSync(own.certFile),
    key: Deno.readTextFileSync(own.keyFile),
  });
  session.on("error", () => {/* The calls tell. */});
  try {
    const found = await Promise.all(methods.map(async (path) => {
      const call = session.request({
        ...{ ":method": "POST", ":path": path, te: "trailers" },
        "content-type": "application/grpc",
      });
      call.on("error", () => {/* It is cut off at the end. */});
      call.resume();
      call.end(Buffer.alloc(5));
      let timer;
      const status = await Promise.race([
        new Promise<string>((resolve) => {
          const told = (headers: Record<string, unknown>) => {
            if (headers["grpc-status"] !== undefined) resolve(String(headers["grpc-status"]));
          };
          call.on("response", told);
          call.on("trailers", told);
        }),
        // A stream that waits for more: it was let in.
        new Promise<string>((resolve) => timer = setTimeout(resolve, 1_500, "open")),
      ]);
      clearTimeout(timer);
      return { path, status };
    }));
    return found.filter(({ status }) => status === permissionDenied).map(({ path }) => path);
  } finally {
    session.destroy();
  }
}
