/** Scripts are run by a real `sh`; only `sudo` is replaced, by one that logs what it reads. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { run, type Transport } from "./remote.ts";

const password = "correct horse";

/** Reads lines from standard input byte by byte as sudo -S does, and gives up after three. */
const fakeSudo = (log: string, asks: boolean) =>
  `#!/bin/sh
question=
while [ $# -gt 0 ]; do
  case $1 in
    -p) question=$2; shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
if ${asks}; then
  for attempt in 1 2 3; do
    printf '%s' "$question" >&2
    IFS= read -r line || { echo 'sudo: no password was provided' >&2; exit 1; }
    echo "$line" >>${log}
    [ "$line" != '${password}' ] || exec "$@"
  done
  exit 1
fi
exec "$@"
`;

async function withSudo(
  asks: boolean,
  given: string,
): Promise<{ code: number; stdout: string; stderr: string; read: string }> {
  const folder = await Deno.makeTempDir();
  try {
    const log = join(folder, "log");
    await Deno.writeTextFile(log, "");
    await Deno.writeTextFile(join(folder, "sudo"), fakeSudo(log, asks), { mode: 0o755 });
    const transport: Transport = {
      label: "here",
      command: (line) => ({ program: "sh", args: ["-c", `PATH=${folder}:$PATH; ${line}`] }),
    };
    const ran = await run(transport, 'echo "got $value"; cat', {
      variables: { value: "it's" },
      input: new TextEncoder().encode("input\n"),
      elevation: { by: "sudo", password: given },
      timeoutMs: 20_000,
      clock: systemClock,
      signal: new AbortController().signal,
    });
    return { ...ran, read: await Deno.readTextFile(log) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the password goes to sudo, and the input to the script", async () => {
  assert.deepEqual(await withSudo(true, password), {
    code: 0,
    stdout: "got it's\ninput\n",
    stderr: "",
    read: `${password}\n`,
  });
});

Deno.test("a sudo that does not ask never sees the password, and neither does the script", async () => {
  const { read, ...ran } = await withSudo(false, password);
  assert.deepEqual(ran, { code: 0, stdout: "got it's\ninput\n", stderr: "" });
  assert.equal(read, "");
});

Deno.test("a wrong password is one failed attempt, not three", async () => {
  const { code, stderr, read } = await withSudo(true, "wrong");
  assert.equal(code, 1);
  assert.equal(read, "wrong\n");
  assert.match(stderr, /no password was provided/);
});
