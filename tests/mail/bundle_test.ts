/** The size of a mailer: minified, gzipped, as a bundler of a user's own would pack it. */
import { gzipSync } from "node:zlib";
import { assert } from "../support/assert.ts";
import { bundle } from "../support/bundle.ts";
import { report } from "../support/report.ts";

/**
 * The mailer of each subpath, and the most bytes that it has: a user's bundler leaves out what reads webhooks. Besides the
 * request itself they hold the checks of every field, bounded reading of replies, and streamed base64; SES has SHA-256 for
 * bodies that are never held whole, and Cloudflare's binding takes no bytes.
 */
const mailers = {
  "sendgrid": ["sendgridMailer", 7_800],
  "mailgun": ["mailgunMailer", 7_750],
  "resend": ["resendMailer", 8_500],
  "ses": ["sesMailer", 9_000],
  "postmark": ["postmarkMailer", 7_575],
  "brevo": ["brevoMailer", 7_425],
  "cloudflare-email": ["cloudflareMailer", 6_625],
} as const;

for (const [name, [mailer, budget]] of Object.entries(mailers)) {
  Deno.test({
    name:
      `bundle: ${name} is at most ${budget} bytes gzipped, and neither a MIME builder nor a package comes with it`,
    sanitizeOps: false, // esbuild is a process of its own
    sanitizeResources: false,
    async fn() {
      const script = `export { ${mailer} } from "@holdfast/edge/${name}";`;
      const { code, metafile } = await bundle({ script, minify: true });
      const size = gzipSync(code, { level: 9 }).length;
      report(`${name}: ${code.length} bytes minified, ${size} gzipped`);
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
