/** Sessions on Workers KV inside workerd: what its weaker promise still holds. */
import { assertEquals } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

workerdTest("sessions on Workers KV inside workerd: login, logout, lists and revocations", async () => {
  await using worker = await startWorkerd({
    entry: new URL("session_kv_worker.ts", import.meta.url),
    kv: ["CACHE"],
  });
  const ask = async (method: string, path: string, cookie = "") => {
    const response = await fetch(worker.url + path, { method, headers: { cookie } });
    const text = await response.text();
    assertEquals(response.status, 200, text);
    const [set] = response.headers.getSetCookie();
    return { text, cookie: set?.split(";")[0] ?? cookie };
  };
  const login = async () => (await ask("POST", "/login")).cookie;
  const me = async (cookie: string) => (await ask("GET", "/me", cookie)).text;
  const [first, second] = [await login(), await login()];
  assertEquals((await ask("POST", "/count", first)).text, "1");
  assertEquals((await ask("POST", "/count", first)).text, "2");
  assertEquals([await me(first), await me(second)], ['["ada",2]', '["ada",null]']);
  assertEquals((await ask("GET", "/list")).text, "2");
  assertEquals((await ask("POST", "/logout", first)).cookie, "__Host-session=");
  assertEquals([await me(first), (await ask("GET", "/list")).text], ["[null,null]", "1"]);
  assertEquals((await ask("POST", "/revoke")).text, "1");
  assertEquals(await me(second), "[null,null]");
  assertEquals(await me(await login()), '["ada",null]');
});
