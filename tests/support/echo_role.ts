import { aborted } from "../../src/base/lifetimes.ts";
import { roleEntry } from "../../src/roles/entry.ts";

/** A role that returns each message of its port, until it is stopped or asked to fail. */
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
