/** `deno task start` on a machine that has nothing of ours: what it installs. */
import { assert, assertEquals } from "../support/assert.ts";

Deno.test("start: a fresh clone installs Hono and zod, and nothing of what only tests need", async () => {
  const folder = await Deno.makeTempDir({ prefix: "start-size-" });
  const root = new URL("../../", import.meta.url).pathname;
  try {
    await succeeds("sh", ["-c", `cp -r mod.ts src adapters examples deno.json deno.lock ${folder}`], root);
    const shop = new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "start", "--store=memory"],
      cwd: folder,
      env: { PORT: "0", NO_COLOR: "1", DENO_DIR: `${folder}/cache` },
      stdout: "piped",
      stderr: "null",
    }).spawn();
    try {
      const { value } = await shop.stdout.pipeThrough(new TextDecoderStream()).getReader().read();
      assert(value?.includes("The shop is open"), value);
    } finally {
      shop.kill("SIGTERM");
      await shop.status;
    }
    const packages = await succeeds("sh", ["-c", "ls cache/npm/*/"], folder);
    assertEquals(packages.trim().split(/\s+/).filter((name) => !name.includes("registry")).sort(), [
      "hono",
      "zod",
    ]);
    const [, kilobytes = ""] = /^(\d+)/.exec(await succeeds("du", ["-sk", "cache"], folder)) ?? [];
    assert(Number(kilobytes) < 40_000, `${kilobytes} kB were installed`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function succeeds(command: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
