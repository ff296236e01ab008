import assert from "node:assert/strict";
import { output, tlsLab } from "../../../tests/support/tls.ts";
import { readCertificates } from "./inspect.ts";
import { certificateRoles, roleOf, roleUri } from "./roles.ts";

Deno.test("the role of a certificate is in its alternative names; an odd one allows nothing", async () => {
  await using lab = await tlsLab();
  const cases: [string, ReturnType<typeof roleOf>][] = [
    ...certificateRoles.map((role): [string, typeof role] => [`URI:${roleUri(role)}`, role]),
    ["DNS:a.lan", undefined],
    ["URI:https://example.org/agent:role:worker,DNS:agent-role-worker", undefined],
    ["DNS:a.lan,URI:agent:role:worker,URI:agent:role:worker", "worker"],
    ["URI:agent:role:worker,URI:agent:role:client", "unknown"],
    ["URI:agent:role:administrator", "unknown"],
    ["URI:agent:role:", "unknown"],
    ["URI:agent:role:Worker", "unknown"],
    ["URI:AGENT:role:worker", "worker"],
  ];
  for (const [names, role] of cases) {
    await output(
      "openssl",
      ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=a", "-addext"]
        .concat([`subjectAltName=${names}`, "-keyout", lab.at("key"), "-out", lab.at("crt")]),
    );
    assert.equal(roleOf(readCertificates(lab.at("crt"))[0]!), role, names);
  }
});
