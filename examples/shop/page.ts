/** The shop's one page: plain HTML and a little script that shows what the API answers. Says which engine it runs on. */
export const page = (engine: string): string =>
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The Holdfast shop</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --ink: #10202b; --paper: #f4f1ea; --card: #fffdf8; --line: #ddd5c5; --sea: #0b6e72; --warn: #a8401c; --ok: #1f6f43; --soft: #5c6a72; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e8edef; --paper: #0e161b; --card: #16222a; --line: #2a3a44; --sea: #4fc3c0; --warn: #ff9270; --ok: #7bd8a1; --soft: #9fb0b8; } }
  * { box-sizing: border-box; }
  body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
  header, main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1.25rem; }
  header { padding-bottom: 0; }
  h1 { font: 700 clamp(1.8rem, 5vw, 2.8rem)/1.1 Georgia, serif; margin: 0 0 .4rem; }
  h2 { font: 700 1.25rem/1.2 Georgia, serif; margin: 0 0 .25rem; }
  p { margin: 0 0 .9rem; color: var(--soft); }
  main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); align-items: start; }
  section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.25rem; min-width: 0; }
  .row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin-bottom: .9rem; }
  button { font: 600 .95rem system-ui, sans-serif; padding: .6rem .95rem; border-radius: 9px; border: 1px solid var(--sea); background: var(--sea); color: var(--card); cursor: pointer; min-height: 44px; }
  button.quiet { background: transparent; color: var(--sea); }
  button:disabled { opacity: .55; cursor: progress; }
  :focus-visible { outline: 3px solid var(--warn); outline-offset: 2px; }
  input { font: inherit; padding: .55rem .7rem; border-radius: 9px; border: 1px solid var(--line); background: var(--paper); color: var(--ink); min-height: 44px; width: 9rem; }
  ul { list-style: none; margin: 0; padding: 0; }
  li { padding: .35rem 0; border-top: 1px solid var(--line); }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
  th, td { text-align: left; padding: .35rem .6rem .35rem 0; border-top: 1px solid var(--line); white-space: nowrap; }
  th { color: var(--soft); font-weight: 600; border: 0; }
  section:last-child:nth-child(odd) { grid-column: 1 / -1; }
  @media (max-width: 30rem) { header, main { padding-inline: .75rem; } section { padding: 1rem; } table { font-size: .78rem; } th, td { padding-right: .4rem; } }
  .ok { color: var(--ok); font-weight: 700; } .no { color: var(--warn); font-weight: 700; }
  .sum { font-weight: 600; color: var(--ink); min-height: 1.5em; }
</style>
</head>
<body>
<header>
  <h1>The Holdfast shop</h1>
  <p>Seven contracts at work. Every button sends real requests to this server; what you see is what it answered. State lives in <strong id="engine">${engine}</strong>.</p>
</header>
<main>
  <section aria-labelledby="cart-title">
    <h2 id="cart-title">A cart that stays</h2>
    <p>It belongs to your session: reload the page, it is still there.</p>
    <div class="row" id="products"></div>
    <p class="sum" id="cart" aria-live="polite">&nbsp;</p>
    <button class="quiet" id="empty">Empty the cart</button>
  </section>
  <section aria-labelledby="account-title">
    <h2 id="account-title">Log out everywhere</h2>
    <p>Logging in changes the session's token. Log in from a second browser, then end them all from here.</p>
    <form class="row" id="login"><label for="user">Name</label> <input id="user" name="user" value="ada" required maxlength="40" autocomplete="username"> <button>Log in</button></form>
    <div class="row"><button class="quiet" id="logout">Log out</button> <button class="quiet" id="everywhere">Log out everywhere</button></div>
    <p class="sum" id="me" aria-live="polite">&nbsp;</p>
    <ul id="sessions"></ul>
  </section>
  <section aria-labelledby="pay-title">
    <h2 id="pay-title">Sent five times, charged once</h2>
    <p>Pays for the cart with five identical requests at once that share one Idempotency-Key.</p>
    <div class="row"><button id="pay">Pay five times</button></div>
    <p class="sum" id="pay-sum" aria-live="polite">&nbsp;</p>
    <div class="scroll"><table id="pay-rows" hidden><thead><tr><th>Request</th><th>Status</th><th>Charge no.</th><th>Answer</th></tr></thead><tbody></tbody></table></div>
  </section>
  <section aria-labelledby="mail-title">
    <h2 id="mail-title">One confirmation per order</h2>
    <p>However often Pay is pressed. It waits in an outbox, safe from crashes, until a worker has sent it.</p>
    <div class="row"><button id="drain">Run the worker</button></div>
    <p class="sum" id="mail-sum" aria-live="polite">&nbsp;</p>
    <div class="scroll"><table id="mail-rows" hidden><thead><tr><th>Message</th><th>State</th></tr></thead><tbody></tbody></table></div>
  </section>
  <section aria-labelledby="flood-title">
    <h2 id="flood-title">Five in ten seconds</h2>
    <p>Sends nine requests in a row; the server admits five per ten seconds.</p>
    <div class="row"><button id="flood">Flood it</button></div>
    <p class="sum" id="flood-sum" aria-live="polite">&nbsp;</p>
    <div class="scroll"><table id="flood-rows" hidden><thead><tr><th>Status</th><th>RateLimit</th><th>Retry-After</th></tr></thead><tbody></tbody></table></div>
  </section>
  <section aria-labelledby="race-title">
    <h2 id="race-title">Ten workers, one lock</h2>
    <p>They all start at once. Each gets its turn, and a fencing token above the one before.</p>
    <div class="row"><button id="race">Start the race</button></div>
    <p class="sum" id="race-sum" aria-live="polite">&nbsp;</p>
    <div class="scroll"><table id="race-rows" hidden><thead><tr><th>Worker</th><th>Fencing token</th><th>From</th><th>To</th></tr></thead><tbody></tbody></table></div>
  </section>
  <section aria-labelledby="stampede-title">
    <h2 id="stampede-title">Fifty requests, one fill</h2>
    <p>Forgets the cached catalogue, then asks for it fifty times at once: the database is asked once. A new price is seen at once.</p>
    <div class="row"><button id="stampede">Stampede</button> <button class="quiet" id="dearer">Make the rope dearer</button></div>
    <p class="sum" id="stampede-sum" aria-live="polite">&nbsp;</p>
  </section>
</main>
<script type="module">
  const $ = (id) => document.getElementById(id);
  const call = (method, path, headers) => fetch("/api/" + path, { method, headers });
  const json = async (method, path) => (await call(method, path)).json();
  const money = (cents) => (cents / 100).toLocaleString(undefined, { style: "currency", currency: "EUR" });

  function rows(id, list) {
    const body = $(id).tBodies[0];
    body.replaceChildren(...list.map((cells) => {
      const tr = document.createElement("tr");
      for (const cell of cells) {
        const td = tr.insertCell();
        td.textContent = cell?.text ?? cell ?? "";
        if (cell?.kind) td.className = cell.kind;
      }
      return tr;
    }));
    $(id).hidden = false;
  }
  const status = (code) => ({ text: code, kind: code < 300 ? "ok" : "no" });
  function on(id, event, run) {
    $(id).addEventListener(event, async (e) => {
      e.preventDefault();
      const button = e.submitter ?? e.currentTarget;
      button.disabled = true;
      try { await run(); } catch (error) { alert("The server did not answer: " + error.message); }
      button.disabled = false;
      if (document.activeElement === document.body) button.focus({ preventScroll: true }); // disabling it took the focus away
    });
  }

  const products = await json("GET", "products");
  function showCart({ cart }) {
    const sum = cart.reduce((total, id) => total + products.find((p) => p.id === id).price, 0);
    $("cart").textContent = cart.length === 0 ? "Your cart is empty." : cart.length + " in the cart, " + money(sum);
  }
  async function showMe() {
    const { user, sessions } = await json("GET", "me");
    $("me").textContent = user === null ? "Nobody is logged in." : "Logged in as " + user + ", sessions: " + sessions.length;
    $("sessions").replaceChildren(...sessions.map((s) => {
      const li = document.createElement("li");
      li.textContent = s.handle + (s.current ? " (this one)" : "") + ", since " + new Date(s.createdAt).toLocaleTimeString();
      return li;
    }));
  }
  let turn = Promise.resolve(); // quick presses change the cart one after the other: each reads what the last one wrote
  const changeCart = (method, path) => turn = turn.catch(() => {}).then(async () => showCart(await json(method, path)));
  for (const { id, name, price } of products) {
    const button = document.createElement("button");
    button.id = "add-" + id;
    button.textContent = name + ", " + money(price);
    $("products").append(button);
    on(button.id, "click", () => changeCart("POST", "cart/" + id));
  }
  on("empty", "click", () => changeCart("DELETE", "cart"));
  on("login", "submit", async () => { await call("POST", "login/" + encodeURIComponent($("user").value)); await showMe(); });
  on("logout", "click", async () => { await call("POST", "logout"); await showMe(); showCart(await json("GET", "cart")); });
  on("everywhere", "click", async () => { await call("POST", "logout-everywhere"); await showMe(); showCart(await json("GET", "cart")); });

  on("pay", "click", async () => {
    const headers = { "Idempotency-Key": JSON.stringify(crypto.randomUUID?.() ?? String(Math.random())) };
    const answers = await Promise.all(Array.from({ length: 5 }, async () => {
      const response = await call("POST", "pay", headers);
      return { response, body: await response.json() };
    }));
    const replays = answers.filter(({ response }) => response.headers.has("idempotency-replayed")).length;
    const paid = answers.filter(({ response }) => response.ok);
    $("pay-sum").textContent = paid.length - replays + " charge, " + replays + " replays" + (paid.length ? ": " + money(paid[0].body.total) : "");
    rows("pay-rows", answers.map(({ response, body }, i) => [i + 1, status(response.status), body.charge, response.headers.has("idempotency-replayed") ? "replayed" : response.ok ? { text: "charged", kind: "ok" } : body.title]));
    await changeCart("GET", "cart");
    await showMail();
  });
  async function showMail() {
    const { waiting, sent } = await json("GET", "outbox");
    $("mail-sum").textContent = waiting.length + " in the outbox, " + sent.length + " sent";
    const list = [...waiting.map((m) => [m.subject, m.state === "queued" ? m.state : { text: m.state, kind: "no" }]), ...sent.map((m) => [m.subject, { text: "sent", kind: "ok" }]).reverse()];
    rows("mail-rows", list.slice(0, 8));
    $("mail-rows").hidden = list.length === 0;
  }
  on("drain", "click", async () => { await call("POST", "outbox/drain"); await showMail(); });
  on("flood", "click", async () => {
    const list = [];
    for (let i = 0; i < 9; i++) list.push(await call("GET", "flood"));
    $("flood-sum").textContent = list.filter((r) => r.ok).length + " admitted, " + list.filter((r) => r.status === 429).length + " turned away";
    rows("flood-rows", list.map((r) => [status(r.status), r.headers.get("ratelimit"), r.headers.get("retry-after")]));
  });
  on("race", "click", async () => {
    const { turns } = await json("POST", "race");
    const rising = turns.every((turn, i) => i === 0 || turn.fencingToken > turns[i - 1].fencingToken && turn.from >= turns[i - 1].to - 1);
    $("race-sum").textContent = rising ? "Ten turns, never two at once." : "Two at once: this must not happen.";
    rows("race-rows", turns.map((t) => [t.worker, t.fencingToken, t.from + " ms", t.to + " ms"]));
  });
  on("stampede", "click", async () => {
    await call("POST", "catalogue/forget");
    const before = (await json("GET", "catalogue")).asked;
    const answers = await Promise.all(Array.from({ length: 50 }, () => json("GET", "products")));
    const { asked } = await json("GET", "catalogue");
    $("stampede-sum").textContent = answers.length + " requests, fills: " + (asked - before);
  });
  on("dearer", "click", async () => {
    const { price } = await json("POST", "products/rope/dearer");
    const seen = (await json("GET", "products")).find((p) => p.id === "rope").price;
    $("stampede-sum").textContent = "Now " + money(price) + ", and the next visitor sees " + money(seen);
  });

  showCart(await json("GET", "cart"));
  await showMe();
  await showMail();
</script>
</body>
</html>
`;
