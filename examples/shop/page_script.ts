/** The script of the page, as the browser gets it. */
export const SCRIPT = `
  const $ = (id) => document.getElementById(id);
  const money = (cents) => (cents / 100).toLocaleString(undefined, { style: "currency", currency: "EUR" });

  // Each card shows the last request that it sent, and the answer.
  const HIDDEN = new Set(["content-length", "date", "vary", "connection", "keep-alive", "transfer-encoding"]);
  function show(card, method, path, sent, response, body, times) {
    const again = times > 1 ? "\\n\\n(sent " + times + " times; the last one is shown)" : "";
    $(card + "-request").textContent = [method + " " + path, ...Object.entries(sent ?? {}).map(([k, v]) => k + ": " + v)].join("\\n") + again;
    const headers = [...response.headers].filter(([name]) => !HIDDEN.has(name)).map(([k, v]) => k + ": " + v);
    $(card + "-answer").textContent = [response.status + " " + response.statusText, ...headers, "", body.length > 600 ? body.slice(0, 600) + " …" : body].join("\\n");
  }

  class Refused extends Error {}
  // The meaning of a failed answer, for a visitor. A dead store is explained, not hidden.
  function explain(status, title) {
    if (status === 503) return "The store is away (503). This contract rather answers nothing than something wrong: no state was lost, and nothing was done twice. Plug the store in and press again.";
    return status + ": " + (title || "the server refused this");
  }
  async function send(card, method, path, headers, times = 1) {
    const response = await fetch("/api/" + path, { method, headers });
    const body = await response.text();
    if (card) show(card, method, "/api/" + path, headers, response, body, times);
    let data;
    try { data = JSON.parse(body); } catch { data = {}; }
    return { response, data };
  }
  async function json(card, method, path) {
    const { response, data } = await send(card, method, path);
    if (response.ok) return data;
    throw new Refused(explain(response.status, data.title ?? data.error));
  }

  function rows(id, list) {
    $(id).tBodies[0].replaceChildren(...list.map((cells) => {
      const tr = document.createElement("tr");
      for (const cell of cells) {
        const td = tr.insertCell();
        td.textContent = cell?.text ?? cell ?? "";
        if (cell?.kind) td.className = cell.kind;
      }
      return tr;
    }));
    $(id).hidden = list.length === 0;
  }
  const status = (code) => ({ text: code, kind: code < 300 ? "ok" : "no" });

  // States: busy while requests are under way, then the result or the fault, on the card itself.
  async function guard(card, run) {
    const fault = $(card + "-fault");
    fault.hidden = true;
    try {
      await run();
    } catch (error) {
      fault.textContent = error instanceof Refused ? error.message : "The server does not answer: is it still running?";
      fault.hidden = false;
    }
  }
  function on(id, card, event, run) {
    const element = $(id);
    element.addEventListener(event, async (e) => {
      e.preventDefault();
      const button = e.submitter ?? e.currentTarget;
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true"); // unlike disabled, this keeps the focus
      const sum = document.querySelector("#" + card + "-card .sum");
      sum.classList.add("busy");
      await guard(card, run);
      sum.classList.remove("busy");
      button.removeAttribute("aria-disabled");
    });
  }

  let products = [];
  function showCart({ cart }) {
    const sum = cart.reduce((total, id) => total + products.find((p) => p.id === id).price, 0);
    $("cart").textContent = cart.length === 0 ? "Your cart is empty." : cart.length + " in the cart, " + money(sum);
  }
  async function showMe() {
    const { user, sessions } = await json(null, "GET", "me");
    $("me").textContent = user === null ? "Nobody is logged in." : "Logged in as " + user + ", sessions: " + sessions.length;
    $("sessions").replaceChildren(...sessions.map((s) => {
      const li = document.createElement("li");
      li.textContent = s.handle + (s.current ? " (this one)" : "") + ", since " + new Date(s.createdAt).toLocaleTimeString();
      return li;
    }));
  }
  let turn = Promise.resolve(); // quick presses change the cart one after the other: each reads what the last one wrote
  const changeCart = (card, method, path) => turn = turn.catch(() => {}).then(async () => showCart(await json(card, method, path)));
  async function showProducts() {
    products = await json(null, "GET", "products");
    $("products").replaceChildren(...products.map(({ id, name, price }) => {
      const button = document.createElement("button");
      button.id = "add-" + id;
      button.textContent = name + ", " + money(price);
      return button;
    }));
    for (const { id } of products) {
      $("add-" + id).addEventListener("click", () => guard("cart", () => changeCart("cart", "POST", "cart/" + id)));
    }
  }
  on("empty", "cart", "click", () => changeCart("cart", "DELETE", "cart"));
  on("login", "account", "submit", async () => { await json("account", "POST", "login/" + encodeURIComponent($("user").value)); await showMe(); });
  on("logout", "account", "click", async () => { await json("account", "POST", "logout"); await showMe(); showCart(await json("cart", "GET", "cart")); });
  on("everywhere", "account", "click", async () => { await json("account", "POST", "logout-everywhere"); await showMe(); showCart(await json("cart", "GET", "cart")); });

  on("pay", "pay", "click", async () => {
    const headers = { "Idempotency-Key": JSON.stringify(crypto.randomUUID?.() ?? String(Math.random())) };
    const answers = await Promise.all(Array.from({ length: 5 }, () => send("pay", "POST", "pay", headers, 5)));
    const replays = answers.filter(({ response }) => response.headers.has("idempotency-replayed")).length;
    const paid = answers.filter(({ response }) => response.ok);
    $("pay-sum").textContent = paid.length - replays + " charge, " + replays + " replays" + (paid.length ? ": " + (paid[0].data.items ? money(paid[0].data.total) : "an order of nothing, as the cart was empty") : "");
    rows("pay-rows", answers.map(({ response, data }, i) => [i + 1, status(response.status), data.charge ?? "–", response.headers.has("idempotency-replayed") ? "replayed" : response.ok ? { text: "charged", kind: "ok" } : data.title]));
    const failed = answers.find(({ response }) => !response.ok);
    if (failed) throw new Refused(explain(failed.response.status, failed.data.title));
    await changeCart("cart", "GET", "cart");
    await showMail();
  });
  async function showMail() {
    const { waiting, sent } = await json(null, "GET", "outbox");
    $("mail-sum").textContent = waiting.length + " in the outbox, " + sent.length + " sent";
    const list = [...waiting.map((m) => [m.subject, m.state === "queued" ? m.state : { text: m.state, kind: "no" }]), ...sent.map((m) => [m.subject, { text: "sent", kind: "ok" }]).reverse()];
    rows("mail-rows", list.slice(0, 8));
  }
  on("drain", "mail", "click", async () => { await json("mail", "POST", "outbox/drain"); await showMail(); });
  on("flood", "flood", "click", async () => {
    const list = [];
    for (let i = 0; i < 9; i++) list.push((await send("flood", "GET", "flood", undefined, 9)).response);
    $("flood-sum").textContent = list.filter((r) => r.ok).length + " admitted, " + list.filter((r) => r.status === 429).length + " turned away";
    rows("flood-rows", list.map((r) => [status(r.status), r.headers.get("ratelimit") ?? "–", r.headers.get("retry-after") ?? "–"]));
    if (unplugged && list.every((r) => r.ok)) $("flood-sum").textContent += ": without a store a throttle lets all through, unless told otherwise";
  });
  on("race", "race", "click", async () => {
    const { turns } = await json("race", "POST", "race");
    const rising = turns.every((turn, i) => i === 0 || turn.fencingToken > turns[i - 1].fencingToken && turn.from >= turns[i - 1].to - 1);
    $("race-sum").textContent = rising ? "Ten turns, never two at once." : "Two at once: this must not happen.";
    rows("race-rows", turns.map((t) => [t.worker, t.fencingToken, t.from + " ms", t.to + " ms"]));
  });
  on("stampede", "stampede", "click", async () => {
    await json("stampede", "POST", "catalogue/forget");
    const before = (await json(null, "GET", "catalogue")).asked;
    const answers = await Promise.all(Array.from({ length: 50 }, () => send("stampede", "GET", "products", undefined, 50)));
    const { asked } = await json(null, "GET", "catalogue");
    $("stampede-sum").textContent = answers.length + " requests, fills: " + (asked - before);
  });
  on("dearer", "stampede", "click", async () => {
    const { price } = await json("stampede", "POST", "products/rope/dearer");
    const seen = (await json(null, "GET", "products")).find((p) => p.id === "rope").price;
    $("stampede-sum").textContent = "Now " + money(price) + ", and the next visitor sees " + money(seen);
  });

  let unplugged = false;
  $("unplug")?.addEventListener("click", async () => {
    unplugged = !unplugged;
    await fetch("/store/" + (unplugged ? "unplugged" : "plugged"), { method: "POST" });
    $("unplug").setAttribute("aria-pressed", String(unplugged));
    $("unplug").textContent = unplugged ? "Plug the store in" : "Unplug the store";
    $("unplug-text").textContent = unplugged
      ? "The store is away. Payments and sessions answer 503, the throttle lets requests through: each contract does what it was told to."
      : "Takes the store away from all contracts, as an outage would. Then press the buttons below.";
    if (!unplugged) await begin();
  });

  async function begin() {
    await guard("cart", async () => { await showProducts(); showCart(await json("cart", "GET", "cart")); });
    await guard("account", showMe);
    await guard("mail", showMail);
  }
  // On a phone the details would push the next card far away.
  if (matchMedia("(max-width: 40rem)").matches) for (const how of document.querySelectorAll(".how")) how.open = false;
  await begin();
`;
