/**
 * Holds the main thread of a process while its other threads go on, as a call that hangs does. Only a
 * debugger can do that (ptrace(2)), and it has to be a process of its own: this file, started again.
 */
const seize = 0x4206n;
const interrupt = 0x4207n;

/** The thread continues at disposal. */
export async function holdMainThread(pid: number): Promise<AsyncDisposable> {
  const holder = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-ffi", "--no-config", import.meta.filename!, String(pid)],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = holder.stdout.getReader();
  const { done } = await reader.read();
  if (done) throw new Error(`Cannot hold the main thread of ${pid}: see above`);
  return {
    async [Symbol.asyncDispose]() {
      // Its end detaches it.
      holder.kill("SIGKILL");
      await reader.cancel();
      await holder.status;
    },
  };
}

if (import.meta.main) {
  const { symbols } = Deno.dlopen("libc.so.6", {
    ptrace: { parameters: ["usize", "usize", "pointer", "pointer"], result: "isize" },
  });
  const pid = BigInt(Deno.args[0]!);
  for (const request of [seize, interrupt]) {
    if (symbols.ptrace(request, pid, null, null) === 0n) continue;
    throw new Error(`ptrace ${request} of ${pid} is refused`);
  }
  Deno.stdout.writeSync(new TextEncoder().encode("held\n"));
  setInterval(() => {}, 60_000);
}
