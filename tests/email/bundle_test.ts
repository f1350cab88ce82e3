/** What a mailer costs: minified, gzipped, as a bundler of a user's own would pack it. */
import { gzipSync } from "node:zlib";
import { assert } from "../support/assert.ts";
import { bundle } from "../support/bundle.ts";

/** Bytes. 6 KB is the aim; SES exceeds it by its encoded words and files, Resend by its batches and its SDK's way. */
const budgets: Readonly<Record<string, number>> = {
  sendgrid: 6 * 1024,
  mailgun: 6 * 1024,
  resend: 6800,
  ses: 6650,
};

for (const [name, budget] of Object.entries(budgets)) {
  Deno.test({
    name:
      `bundle: ${name} is at most ${budget} bytes gzipped, and neither a MIME builder nor a package comes with it`,
    sanitizeOps: false, // esbuild is a process of its own
    sanitizeResources: false,
    async fn() {
      const script = `export * from "@holdfast/edge/${name}";`;
      const { code, metafile } = await bundle({ script, minify: true });
      const size = gzipSync(code, { level: 9 }).length;
      assert(size <= budget, `${size} bytes`);
      const inside = Object.entries(Object.values(metafile.outputs)[0]!.inputs);
      const built = inside.some(([file, { bytesInOutput }]) =>
        file.endsWith("/mime.ts") && bytesInOutput > 0
      );
      assert(inside.length > 5 && !built, "the MIME builder is in it");
      assert(inside.every(([file]) => !file.includes("node_modules")), "a package is in it");
    },
  });
}
