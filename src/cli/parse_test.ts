import assert from "node:assert/strict";
import { UsageError } from "../base/errors.ts";
import { command } from "./command.ts";
import { parse } from "./parse.ts";

const submit = command({
  path: "submit",
  summary: "Test",
  config: ["peer", "client", "node"],
  shortFlags: "client",
  args: [{ name: "FIRST", help: "One" }, { name: "MORE", help: "Others", repeat: true }],
  rest: { placeholder: "CMD", help: "Command" },
  options: {
    out: { kind: "path", short: "o", help: "Folder" },
    force: { kind: "flag", short: "f", help: "Overwrite" },
    verbose: { kind: "flag", short: "v", help: "Say more" },
    color2: { kind: "flag", default: true, help: "A flag that is on" },
    addHostname: { kind: "text", repeat: true, help: "Names" },
    env: { kind: "pair", repeat: true, help: "Variables" },
    retries: { kind: "integer", min: 0, max: 10, default: 3, help: "Retries" },
    timeout: { kind: "duration", help: "Limit" },
    state: { kind: "choice", choices: ["queued", "running"], help: "State" },
  },
  examples: [],
  run: () => {},
});

const defaults = {
  out: undefined,
  force: false,
  verbose: false,
  color2: true,
  addHostname: [],
  env: {},
  retries: 3,
  timeout: undefined,
  state: undefined,
};

function wrong(words: string[]): string {
  try {
    parse(submit, words);
  } catch (error) {
    assert(error instanceof UsageError, String(error));
    return `${error.message} | ${error.next ?? ""}`;
  }
  throw new assert.AssertionError({ message: `${words.join(" ")} was accepted` });
}

Deno.test("options have their types and defaults", () => {
  for (
    const [words, expected] of [
      [[], {}],
      [["--out", "a"], { out: "a" }],
      [["--out=a=b"], { out: "a=b" }],
      [["--out="], 'is "", must be a path'],
      [["-o", "a"], { out: "a" }],
      [["-oa"], { out: "a" }],
      [["-o=a"], { out: "a" }],
      [["-fv"], { force: true, verbose: true }],
      [["-fvo", "a"], { force: true, verbose: true, out: "a" }],
      [["-fvoa"], { force: true, verbose: true, out: "a" }],
      [["-f=false"], { force: false }],
      [["--out", "-a"], { out: "-a" }],
      [["--out", "-"], { out: "-" }],
      [["--force=1"], { force: true }],
      [["--force=0"], { force: false }],
      [["--no-color2"], { color2: false }],
      [["--color2=false"], { color2: false }],
      [["--add-hostname", "a", "--add-hostname=b"], { addHostname: ["a", "b"] }],
      [["--env", "A=1=2", "--env", "B="], { env: { A: "1=2", B: "" } }],
      [["--retries", "10"], { retries: 10 }],
      [["--timeout", "1m30s"], { timeout: 90_000 }],
      [["--state=running"], { state: "running" }],
    ] as const
  ) {
    if (typeof expected === "string") assert.match(wrong([...words]), new RegExp(expected));
    else assert.deepEqual(parse(submit, words).options, { ...defaults, ...expected });
  }
});

Deno.test("wrong words are refused with what was meant", () => {
  for (
    const [words, message] of [
      [["--outt", "a"], /Unknown flag "--outt" \| Did you mean "--out"\?/],
      [["--fore"], /Did you mean "--force"/],
      [["-x"], /Unknown flag "-x"/],
      [["-fx"], /Unknown flag "-x" in "-fx"/],
      [["-verbos"], /Unknown flag "-e" in "-verbos"/],
      [["-retries"], /Did you mean "--retries"/],
      [["--out"], /needs a value PATH, but nothing follows/],
      [["--out", "--force"], /"--out" needs a value PATH, but "--force" follows/],
      [["--out", "--", "x"], /"--" follows/],
      [["--out", "a", "-o", "b"], /"-o" is given twice/],
      [["--force", "--no-force"], /"--no-force" is given twice/],
      [["--force=yes"], /must be true, false, 1 or 0/],
      [["--no-force=1"], /takes no value/],
      [["--no-out"], /Unknown flag "--no-out"/],
      [["--retries", "11"], /must be a whole number from 0 to 10/],
      [["--retries", "1e1"], /must be a whole number/],
      [["--timeout", "10"], /must be a duration/],
      [["--state", "done"], /must be one of queued, running/],
      [["--env", "A"], /must be NAME=VALUE/],
      [["--coordinator.port", "1"], /has no meaning for "agent submit"/],
      [["--peer.insecur=false"], /Did you mean "--peer.insecure"/],
      [["--peer:insecure=false"], /Unknown flag/],
      [["--peer.server-name", "a", "--peer.server-name", "b"], /given twice/],
      [["--env", "A=1", "--env", "A=2"], /must be a list that sets "A" only once/],
      [["--server-name=a"], /Unknown flag "--server-name" \| Did you mean "--peer.server-name"/],
      [["-H", "::"], /Unknown flag "-H"/],
      [["--port", "1"], /Did you mean "--node.port"/],
      [["--color", "green"], /must be one of auto, always, never/],
    ] as [string[], RegExp][]
  ) assert.match(wrong(words), message, words.join(" "));
});

Deno.test("dotted flags are kept in every order", () => {
  const groups = [
    ["--peer.insecure=false"],
    ["--peer.cert-file", "c"],
    ["--peer.key-file=k"],
    ["--coordinators", "h:1"],
    ["--env=A=1"],
  ];
  for (const order of permutations(groups)) {
    const { config, options } = parse(submit, order.flat());
    assert.deepEqual(Object.fromEntries(config), {
      "peer.insecure": ["false"],
      "peer.cert_file": ["c"],
      "peer.key_file": ["k"],
      "client.coordinators": ["h:1"],
    }, order.flat().join(" "));
    assert.deepEqual(options, { ...defaults, env: { A: "1" } });
  }
});

Deno.test("short flags of settings exist only where the command binds them", () => {
  const node = command({
    path: "node",
    summary: "Test",
    config: ["node", "peer"],
    shortFlags: "node",
    options: {},
    examples: [],
    run: () => {},
  });
  // deno-fmt-ignore
  const { config } = parse(node, [
    "-H", "0.0.0.0", "--port=1", "--peer", "a", "--peer=b:1,c", "--node.peers=d", "--cluster", "x",
    "--name=y", "--no-tls", "--insecure", "--tls-cert=c", "--tls-key", "k", "--no-auth",
  ]);
  assert.deepEqual(Object.fromEntries(config), {
    "node.host": ["0.0.0.0"],
    "node.port": ["1"],
    "node.peers": ["a", "b:1,c", "d"],
    "node.cluster": ["x"],
    "node.name": ["y"],
    "node.tls": ["false"],
    "node.insecure": ["true"],
    "node.tls_cert": ["c"],
    "node.tls_key": ["k"],
    "node.no_auth": ["true"],
  });
  assert.throws(() => parse(node, ["--port=1", "--node.port=2"]), /"--node.port" is given twice/);
  assert.throws(() => parse(node, ["--tls", "--no-node.tls"]), /is given twice/);
  assert.throws(() => parse(node, ["--coordinators=a"]), /Unknown flag "--coordinators"/);
});

Deno.test("positional arguments mix with flags, and what follows -- is left alone", () => {
  const { args, rest, options } = parse(submit, ["a", "-f", "b", "-", "--", "-f", "--", "--out"]);
  assert.deepEqual(args, ["a", "b", "-"]);
  assert.deepEqual(rest, ["-f", "--", "--out"]);
  assert.deepEqual(options, { ...defaults, force: true });
});

Deno.test("missing and unexpected arguments are named", () => {
  const one = command({
    path: "task show",
    summary: "Test",
    args: [{ name: "ID", help: "the task", required: true }],
    options: { out: { kind: "path", required: true, help: "Folder" } },
    examples: [],
    run: () => {},
  });
  assert.throws(() => parse(one, ["--out", "a"]), /ID is missing: the task/);
  assert.throws(() => parse(one, ["x"]), /"--out PATH" is required/);
  assert.throws(() => parse(one, ["x", "y", "--out=a"]), /Unexpected argument "y"/);
  assert.throws(() => parse(one, ["x", "--out=a", "--", "y"]), /Unexpected argument "y"/);
  assert.deepEqual(parse(one, ["--out=a", "--", "-x"]).args, ["-x"]);
  const next = (words: string[]) => {
    try {
      return void parse(one, words);
    } catch (error) {
      return (error as UsageError).next;
    }
  };
  assert.equal(next(["x", "--out=a", "--json", "false"]), "Write it as --json=false");
  assert.equal(next(["x", "--out=a", "--json", "y"]), "agent task show --help");
  assert.equal(parse(one, ["-h"]).common.help, "true", "help needs no complete line");
});

function permutations<T>(items: T[]): T[][] {
  if (items.length < 2) return [items];
  return items.flatMap((item, i) =>
    permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest])
  );
}
