/** Whole messages between the store and Upstash, HTTP headers included, are never longer than the peers'. */
import { measureMessages, messagesTable, sum } from "../../bench/messages.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";

Deno.test({
  name: "Upstash: a request and its reply are no longer than those of @upstash/redis, ratelimit and lock",
  sanitizeOps: false, // the SDK keeps sockets
  sanitizeResources: false,
  async fn() {
    const lines = await measureMessages();
    report(messagesTable(lines));
    for (const { operation, ours, peer, peers } of lines) {
      assert(ours.request > 100 && ours.reply > 100 && peers.request > 100, "messages were counted");
      assert(sum(ours) <= sum(peers), `${operation}: ${sum(ours)} bytes, ${peer}: ${sum(peers)}`);
    }
    assertEquals(lines.length, 9);
  },
});
