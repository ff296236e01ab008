/** The certificates of a node: the one it serves, the one it presents to peers, and the CAs it trusts. */
import type { Env } from "../base/env.ts";
import { messageOf } from "../base/errors.ts";
import type { ServerMaterial } from "../http/server.ts";
import type { Observed } from "../mesh/member.ts";
import { type PeerClient, peerClient, type PeerTrust } from "../mesh/peer_client.ts";
import { fingerprintHex, prove } from "../mesh/trust.ts";
import type { Certificate, Pair } from "../pki/x509/inspect.ts";
import { roleOf } from "../pki/x509/roles.ts";
import { type Credentials, type Loaded, readCredentials } from "../tls/credentials.ts";
import type { NodeTls, PairFiles } from "./node_tls.ts";

export interface NodeCredentials extends Disposable {
  /** What the server presents. */
  material(): ServerMaterial;
  /** Called with each later set. */
  onChange(changed: (material: ServerMaterial) => void): void;
  /** The certificate that is served. */
  certificate(): Certificate | undefined;
  hostnames(): string[];
  /** CAs that certificates of callers are verified against. */
  roots(): Certificate[];
  /** How peers see this node's own certificate. */
  observed(): Pick<Observed, "certificateFingerprint" | "certificateNotAfter" | "caFingerprint">;
  client(): PeerClient;
  canSignOn(): boolean;
  /** Why the node is not ready. */
  trouble(): string | undefined;
  /** Follows the files until the signal aborts. */
  follow(signal: AbortSignal): Promise<void>;
}

/** @throws {UsageError} if files are not usable. An expired certificate is usable. */
export async function openNodeCredentials(tls: NodeTls, env: Env): Promise<NodeCredentials> {
  let changed: (material: ServerMaterial) => void = () => {};
  const reload = () => {
    known = undefined;
    client[Symbol.dispose]();
    client = newClient();
    if (serving !== undefined) changed(materialOf(serving.loaded()));
  };
  const serving = await read(tls.serve, tls.bundle, "ca", reload);
  const other = await read(tls.other, tls.bundle, "all", reload);
  const ca = () => serving?.loaded().ca;
  const roots = () => ca()?.certificates ?? [];
  /** Whether a chain leads to the bundle takes a signature: asked again after a reload, and each minute. */
  let known: Standing | undefined;
  const standing = (): Standing => {
    const now = env.clock.monotonic();
    if (known === undefined || now - known.at > standingMs) {
      known = { at: now, ...standingOf([serving, other], roots(), env) };
    }
    return known;
  };
  const newClient = () => {
    const pem = ca()?.pem;
    const trust: PeerTrust | undefined = serving === undefined ? undefined : {
      pair: standing().shown,
      ca: pem ?? "",
      roots: roots(),
      verifyHostname: tls.verifyHostname,
    };
    return peerClient(trust, env.clock);
  };
  let client = newClient();
  const certificate = () => serving?.loaded().pair?.certificate;
  return {
    material: () => materialOf(serving!.loaded()),
    onChange: (told) => changed = told,
    certificate,
    hostnames: () => certificate()?.hostnames ?? [],
    roots,
    observed: () => standing().observed,
    client: () => client,
    canSignOn: () => standing().canSignOn,
    trouble: () => {
      const end = certificate()?.notAfter;
      if (end === undefined || end.getTime() > env.clock.now()) return undefined;
      return `the certificate expired on ${end.toISOString()}`;
    },
    follow: async (signal) => {
      const all = [serving, other].filter((each) => each !== undefined);
      await Promise.all(all.map((each) => each.follow(env, signal)));
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

/** How other nodes judge this node's certificates. */
interface Standing {
  at: number;
  /** The first pair that peers accept. */
  shown: Pair | undefined;
  canSignOn: boolean;
  observed: ReturnType<NodeCredentials["observed"]>;
}

const standingMs = 60_000;

function standingOf(
  [serving, other]: (Credentials | undefined)[],
  roots: Certificate[],
  env: Env,
): Omit<Standing, "at"> {
  const pairs = [serving, other].map((each) => each?.loaded().pair)
    .filter((pair) => pair !== undefined);
  const accepted = pairs.find((pair) => rootOf(pair, roots, env) !== undefined);
  const role = accepted && roleOf(accepted.certificate);
  const served = serving?.loaded().pair;
  const root = served && rootOf(served, roots, env);
  return {
    shown: accepted ?? pairs[0],
    canSignOn: accepted !== undefined && (role === undefined || role === "node"),
    observed: {
      certificateFingerprint: served && fingerprintHex(served.certificate),
      certificateNotAfter: served?.certificate.notAfter.getTime(),
      caFingerprint: root && fingerprintHex(root),
    },
  };
}

function read(
  pair: PairFiles | undefined,
  clientCaFile: string,
  optional: "ca" | "all",
  changed: () => void,
): Promise<Credentials | undefined> {
  if (pair === undefined) return Promise.resolve(undefined);
  const { certFile, keyFile } = pair;
  const files = { certFile, keyFile, clientCaFile };
  const options = { prove: true, optional, changed };
  return readCredentials({ mode: "mtls", ...files, skipVerify: false }, options);
}

function materialOf({ pair, ca }: Loaded): ServerMaterial {
  return { cert: pair!.certPem, key: pair!.keyPem, ca: ca?.pem };
}

/** The CA of the bundle that a pair leads to. */
function rootOf({ chain }: Pair, roots: Certificate[], env: Env): Certificate | undefined {
  try {
    return prove(chain, roots, "serverAuth", env.clock.now()).root;
  } catch (error) {
    env.log.debug("the own certificate does not lead to the bundle", { reason: messageOf(error) });
    return undefined;
  }
}
