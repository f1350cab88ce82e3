/**
 * The outbox under real kills: drainers are processes of their own on one Deno KV on disk, ended by SIGKILL
 * at random moments while more mail comes in. PROCESS_KILLS=200 for the whole proof.
 */
import { type Mailer, memoryMailer, outbox } from "@holdfast/edge/mail";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { assert, assertEquals } from "../support/assert.ts";
import { startResend } from "../support/mail/resend_server.ts";
import { startSendGrid } from "../support/mail/sendgrid_server.ts";
import { Random } from "../support/random.ts";
import { report } from "../support/report.ts";

const KILLS = Number(Deno.env.get("PROCESS_KILLS") ?? 5);
const script = new URL("./_drain_process.ts", import.meta.url).pathname;
const root = new URL("../..", import.meta.url).pathname;

for (const provider of ["resend", "sendgrid"] as const) {
  Deno.test(`outbox under ${KILLS} real kills, ${provider}`, async () => {
    const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
    const random = new Random(seed);
    const path = await Deno.makeTempFile();
    await using server = await (provider === "resend" ? startResend : startSendGrid)();
    using kv = await Deno.openKv(path);
    // The name alone matters: this side only queues and decides.
    const mailer: Mailer = memoryMailer();
    const box = outbox(mailer, denoKvStore(kv), { buckets: 2 });
    const subjects: string[] = [];
    const add = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const subject = `number ${subjects.length}`;
        await box.send({ from: "shop@example.com", to: "jane@example.com", subject, text: "Thank you." });
        subjects.push(subject);
      }
    };
    const drainer = [
      "run",
      "-A",
      "--unstable-kv",
      "--no-check",
      `--config=${root}deno.json`,
      script,
      path,
      provider,
      server.url,
    ];
    let killed = 0;
    for (let started = 0; killed < KILLS && started < KILLS * 5; started++) {
      await add(4);
      const child = new Deno.Command(Deno.execPath(), {
        args: drainer,
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const reader = child.stdout.getReader();
      await reader.read(); // ready
      const pause = random.below(120);
      await new Promise((resolve) => setTimeout(resolve, pause));
      try {
        child.kill("SIGKILL");
      } catch {
        // it was done before
      }
      const { signal } = await child.status;
      await reader.cancel();
      if (signal === "SIGKILL") killed++;
    }
    const finish = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1100)); // the leases of the dead
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        args: drainer,
      }).output();
      assert(success, new TextDecoder().decode(stderr));
    };
    await finish();
    const arrivals = (subject: string) => server.accepted.filter((mail) => mail.subject === subject).length;
    let doubted = 0;
    let arrived = 0;
    for await (const { id, state } of box.list()) {
      assertEquals(state, "in-doubt", `SEED=${seed}`);
      doubted++;
      if (arrivals((await box.read(id))!.subject) > 0) {
        arrived++;
        await box.discard(id);
      } else assert(await box.requeue(id));
    }
    await finish();
    const twice = subjects.filter((subject) => arrivals(subject) > 1);
    const never = subjects.filter((subject) => arrivals(subject) === 0);
    assertEquals([never, twice], [[], []], `SEED=${seed}`);
    if (provider === "resend") assertEquals(doubted, 0);
    assert(killed >= Math.min(KILLS, 1), "nothing was killed");
    report(
      `${provider}: ${killed} processes killed, ${subjects.length} messages, each arrived once; requests ${server.requests.length}, ` +
        `${doubted} held in doubt, of which ${arrived} had arrived`,
    );
  });
}
