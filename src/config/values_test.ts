import assert from "node:assert/strict";
import { InvalidValue, parseValue, showValue, type ValueSpec } from "./values.ts";

Deno.test("what is shown is read back as the same value", () => {
  const cases: [ValueSpec, string, unknown][] = [
    [{ kind: "bytes" }, "0", 0],
    [{ kind: "bytes" }, "1000", 1000],
    [{ kind: "bytes" }, "512MiB", 512 * 2 ** 20],
    [{ kind: "bytes" }, "1GiB", 2 ** 30],
    [{ kind: "duration" }, "1h30m", 5_400_000],
    [{ kind: "integer", min: -5 }, "-5", -5],
    [{ kind: "choice", choices: ["a", "b"] }, "b", "b"],
    [{ kind: "address", defaultPort: 1 }, "[::1]:7", "[::1]:7"],
  ];
  for (const [spec, text, value] of cases) {
    assert.equal(parseValue(spec, text), value);
    assert.equal(showValue(spec, value), text);
  }
  assert.equal(parseValue({ kind: "bytes" }, "1024"), parseValue({ kind: "bytes" }, "1KiB"));
});

Deno.test("what has no meaning as a value is refused with what is wanted", () => {
  const cases: [ValueSpec, string[], RegExp][] = [
    [{ kind: "bytes" }, ["", "-1", "1.5GiB", "1GB", "1 GiB", "9999999TiB"], /a size such as/],
    [{ kind: "duration" }, ["", "10", "1y", "200000d"], /a duration/],
    [{ kind: "pair" }, ["", "A", "=x"], /NAME=VALUE/],
    [
      { kind: "integer" },
      ["", "1.0", "0x1", "1e1", "99999999999999999"],
      /^must be a whole number$/,
    ],
    [{ kind: "integer", min: 2 }, ["1"], /a whole number from 2$/],
    [{ kind: "integer", min: 0, max: 2 }, ["3", "-1"], /from 0 to 2$/],
  ];
  for (const [spec, texts, message] of cases) {
    for (const text of texts) {
      assert.throws(
        () => parseValue(spec, text),
        (error) => error instanceof InvalidValue && message.test(error.message),
        `${spec.kind} "${text}"`,
      );
    }
  }
});
