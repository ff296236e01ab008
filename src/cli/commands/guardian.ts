import { UsageError } from "../../base/errors.ts";
import { command } from "../command.ts";

export default command({
  path: "guardian",
  summary: "End a worker's processes when it cannot",
  description: `Only a worker starts it, on systems without a shell that would do: see
    runner/guardian_protocol.ts.`,
  hidden: true,
  args: [
    { name: "MARK", help: "How the worker's processes are known", required: true },
    {
      name: "SILENCE-MS",
      help: "Without a word of the worker for so long, it acts",
      required: true,
    },
  ],
  options: {},
  examples: [{ line: "agent guardian 0123456789abcdef.01234567. 4000", does: "Watches a worker" }],
  run: async ({ args: [mark = "", silence = ""] }) => {
    const silenceMs = Number(silence);
    // An empty or short mark would be everybody's.
    if (!/^[0-9a-f]{16}\.[0-9a-f]{8}\.$/.test(mark) || !(silenceMs >= 100)) {
      throw new UsageError("Only a worker can start its guardian");
    }
    const { guard } = await import("../../runner/guardian_loop.ts");
    await guard(mark, silenceMs);
  },
});
