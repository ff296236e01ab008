import { aborted } from "../../src/base/lifetimes.ts";
import { roleEntry } from "../../src/roles/entry.ts";

/** A role that says what it hears through its port until it is told to stop, or to fail. */
roleEntry(async (config, env, port) => {
  const failure = Promise.withResolvers<never>();
  port.onmessage = ({ data }) => {
    if (data === "fail") failure.reject(new Error("told to fail"));
    else port.postMessage(`${config.values["worker.id"]} heard ${data}`);
  };
  port.postMessage("up");
  await Promise.race([aborted(env.signal), failure.promise]);
  port.postMessage("drained");
});
