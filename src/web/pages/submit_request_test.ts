import assert from "node:assert/strict";
import { Problem } from "../node_api.ts";
import type { TaskView } from "../views.ts";
import { fieldsOf, splitCommand, type SubmitFields, submitRequest } from "./submit_request.ts";

const empty: SubmitFields = {
  command: "uname -a",
  selector: "",
  worker: "",
  resources: "",
  stdin: "",
  timeout: "",
  retries: "",
  max_lost: "",
  lost_after: "",
  retry_delay: "",
  cwd: "",
  array: "",
  lines: "",
  env: "",
  artifacts: "",
  idempotency_key: "",
};

Deno.test("fields that are empty are not sent", () => {
  assert.deepEqual(submitRequest(empty), { argv: ["uname", "-a"] });
  const shell = submitRequest({ ...empty, command: "a | b", shell: "true" });
  assert.deepEqual(shell, { argv: ["a | b"], shell: true });
});

Deno.test("every field is sent as the API takes it", () => {
  const { argv: _, ...rest } = submitRequest({
    command: "x",
    selector: "gpu=a100, zone=r2",
    worker: "gpu1",
    resources: "gpu=2 license=1",
    stdin: "Grüße\n",
    each: "true",
    require_match: "true",
    timeout: "1h30m",
    retries: "2",
    max_lost: "0",
    lost_after: "never",
    retry_delay: "30s",
    cwd: "/srv",
    array: "0-9",
    lines: "a.png\n b.png\n",
    env: "A=1\n\nB=x=y ",
    artifacts: "out/*\n**/*.log\n",
    idempotency_key: "k",
  });
  assert.deepEqual(rest, {
    env: { A: "1", B: "x=y " },
    cwd: "/srv",
    selector: { gpu: "a100", zone: "r2", worker: "gpu1" },
    resources: { gpu: 2, license: 1 },
    stdin_base64: "R3LDvMOfZQo=",
    each: true,
    require_match: true,
    timeout_ms: 5_400_000,
    retries: 2,
    max_lost: 0,
    lost_after_ms: 0,
    retry_delay_ms: 30_000,
    artifacts: ["out/*", "**/*.log"],
    array: "0-9",
    lines: ["a.png", " b.png"],
    idempotency_key: "k",
  });
});

Deno.test("what cannot be read names its field", () => {
  const refused: [Partial<SubmitFields>, RegExp][] = [
    [{ timeout: "10" }, /^Timeout: "10" is not a duration/],
    [{ retries: "-1" }, /^Retries: /],
    [{ env: "A" }, /^Environment: "A" has no "="/],
    [{ selector: "=a" }, /^Worker labels: /],
    [{ resources: "gpu" }, /^Resources: "gpu" has no "="/],
    [{ resources: "gpu=many" }, /^Resources, gpu: /],
    [{ command: 'echo "a' }, /^The command has a " that is not closed/],
  ];
  for (const [fields, message] of refused) {
    assert.throws(
      () => submitRequest({ ...empty, ...fields }),
      (error) => error instanceof Problem && message.test(error.message),
    );
  }
});

Deno.test("the fields of a task give the same task again", () => {
  const spec = {
    argv: ["echo", "a b", "it's", ""],
    env: { A: "1", B: " x=y " },
    cwd: "/srv",
    selector: { gpu: "a100", zone: "r2" },
    resources: { gpu: 2 },
    timeout_ms: 5_400_000,
    retries: 2,
    retry_delay_ms: 1_500,
    max_lost: 0,
    artifacts: ["out/*"],
  } as unknown as TaskView["spec"];
  assert.deepEqual(submitRequest(fieldsOf(spec)!), spec);
  assert.equal(fieldsOf({ ...spec, stdin_bytes: 3 }), undefined);
  const shell = fieldsOf({ ...spec, argv: ["/bin/sh", "-c", "a | b\nc"] })!;
  assert.deepEqual(submitRequest(shell).argv, ["a | b\nc"]);
  assert.equal(fieldsOf({ ...spec, env: { A: "1\n2" } }), undefined);
});

Deno.test("words are split as by a shell", () => {
  assert.deepEqual(splitCommand(`a  'b c' "d \\"e\\" \\n" f\\ g ''`), [
    "a",
    "b c",
    'd "e" \\n',
    "f g",
    "",
  ]);
});
