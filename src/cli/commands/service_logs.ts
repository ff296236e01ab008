import { command } from "../command.ts";
import { roleArg, roleOfArg, serviceGrants, supervisorOf, userOption } from "../service_options.ts";

export default command({
  path: "service logs",
  summary: "Show the log of a role that runs as a service",
  args: [roleArg],
  options: {
    ...userOption,
    lines: {
      kind: "integer",
      short: "n",
      min: 1,
      max: 100_000,
      default: 100,
      help: "Lines to show",
    },
    follow: { kind: "flag", short: "f", help: "Keep printing new lines until Ctrl-C" },
  },
  examples: [{ line: "agent service logs node -f", does: "Until Ctrl-C" }],
  grants: ({ env, options }) => serviceGrants(env, options),
  streams: true,
  run: async ({ args, env, options }) => {
    const role = await roleOfArg(args[0]!);
    const manager = await supervisorOf(env, options.user);
    const [program, ...words] = manager.logs(role, options);
    const child = new Deno.Command(program!, {
      args: words,
      stdin: "null",
      stdout: "piped",
      signal: env.signal,
    }).spawn();
    for await (const chunk of child.stdout) await env.stdout.write(chunk);
    return { code: (await child.status).code };
  },
  exit: ({ code }) => code === 0 ? 0 : 1,
});
