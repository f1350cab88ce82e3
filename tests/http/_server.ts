/** A server of a runtime as a process of its own. */
import { bundle } from "../support/bundle.ts";
import { bunPath } from "../support/runtimes.ts";

const root = new URL("../../", import.meta.url);

/** Runs a program that prints its port (see `_listen.ts`) as a process of that runtime, while it is used. */
export async function withServer<T>(
  runtime: "deno" | "node" | "bun",
  program: URL,
  argument: string,
  use: (url: string) => Promise<T>,
): Promise<T> {
  const { code } = await bundle({ entry: program });
  await Deno.mkdir(new URL(".cache/", root), { recursive: true });
  // Beside node_modules, where Node finds its server.
  const file = await Deno.makeTempFile({ dir: new URL(".cache/", root).pathname, suffix: ".mjs" });
  await Deno.writeTextFile(file, code);
  const command = runtime === "deno" ? Deno.execPath() : runtime === "node" ? "node" : bunPath();
  const before = runtime === "deno" ? ["run", "--quiet", "--no-config", "--no-lock", "--allow-net"] : [];
  const child = new Deno.Command(command, {
    args: [...before, file, argument],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let text = "";
    while (!/port \d+\n/.test(text)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the server did not start under ${runtime}: ${text}`);
      text += value;
    }
    return await use(`http://127.0.0.1:${/port (\d+)/.exec(text)![1]}`);
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    await Deno.remove(file);
  }
}
