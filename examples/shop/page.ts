/** The shop's one page: a card a contract, with the request that it sent, the answer and the source that gave it. */
import { SCRIPT } from "./page_script.ts";
import { STYLE } from "./page_style.ts";
import { SOURCES } from "./sources.ts";

/** The facts about the server that the page shows. */
export interface PageOptions {
  /** The engine on which the state lives. */
  readonly engine: string;
  /** Whether there is a switch that takes the store away. */
  readonly unpluggable: boolean;
}

/** A card: a contract, why it is there, and what to press. */
interface Card {
  /** The name of its elements, and of its part of the source. */
  readonly id: string;
  readonly title: string;
  /** One sentence: what would go wrong without it. */
  readonly why: string;
  /** Controls and results, as HTML. */
  readonly body: string;
}

const result = (id: string) => `<p class="sum" id="${id}" role="status">&nbsp;</p>`;

function table(id: string, caption: string, ...columns: string[]): string {
  const head = columns.map((column) => `<th scope="col">${column}</th>`).join("");
  return `<div class="scroll"><table id="${id}" hidden><caption class="unseen">${caption}</caption><thead><tr>${head}</tr></thead><tbody></tbody></table></div>`;
}

const CARDS: readonly Card[] = [
  {
    id: "cart",
    title: "A cart that stays",
    why:
      "Two tabs that add at once lose nothing, and a request that does not ask for the session costs no call.",
    body: `<div class="row" id="products"></div>${result("cart")}
      <button class="quiet" id="empty">Empty the cart</button>`,
  },
  {
    id: "account",
    title: "Log out everywhere",
    why: "A session that was ended never comes back: not by a slow request, not by a copy of its cookie.",
    body: `<form class="row" id="login"><label for="user">Name</label>
        <input id="user" name="user" value="ada" required maxlength="40" autocomplete="username"><button>Log in</button></form>
      <div class="row"><button class="quiet" id="logout">Log out</button><button class="quiet" id="everywhere">Log out everywhere</button></div>
      ${result("me")}<ul id="sessions"></ul>`,
  },
  {
    id: "pay",
    title: "Sent five times, charged once",
    why:
      "A client that got no answer sends again: with one Idempotency-Key the charge happens once, and all get its answer.",
    body: `<div class="row"><button id="pay">Pay five times</button></div>${result("pay-sum")}
      ${table("pay-rows", "The five requests", "Request", "Status", "Charge no.", "Answer")}`,
  },
  {
    id: "mail",
    title: "One confirmation per order",
    why: "The message waits in the store, so that a crash loses none, and a worker sends each one once.",
    body: `<div class="row"><button id="drain">Run the worker</button></div>${result("mail-sum")}
      ${table("mail-rows", "The messages", "Message", "State")}`,
  },
  {
    id: "flood",
    title: "Five in ten seconds",
    why: "All isolates count together, and a request that was turned away costs no quota.",
    body: `<div class="row"><button id="flood">Send nine requests</button></div>${result("flood-sum")}
      ${table("flood-rows", "The nine requests", "Status", "RateLimit", "Retry-After")}`,
  },
  {
    id: "race",
    title: "Ten workers, one lock",
    why: "They start at once, each gets its turn, and its fencing token is above the one before.",
    body: `<div class="row"><button id="race">Start the race</button></div>${result("race-sum")}
      ${table("race-rows", "The ten turns", "Worker", "Fencing token", "From", "To")}`,
  },
  {
    id: "stampede",
    title: "Fifty requests, one fill",
    why:
      "A forgotten value is fetched once for all who ask, and a new price is never answered with the old one.",
    body:
      `<div class="row"><button id="stampede">Ask fifty times</button><button class="quiet" id="dearer">Make the rope dearer</button></div>
      ${result("stampede-sum")}`,
  },
];

/** The page. */
export function page({ engine, unpluggable }: PageOptions): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The Holdfast shop</title>
<meta name="description" content="Each contract of Holdfast at work, with its requests and its source.">
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<a class="skip" href="#cards">Skip to the cards</a>
<header>
  <h1>The Holdfast shop</h1>
  <p class="lead">Seven contracts at work. Every button sends real requests to this server; below each you see what was sent, what came back and the lines that did it.</p>
  ${picture(engine)}
  ${unpluggable ? SWITCH : ""}
</header>
<main id="cards" tabindex="-1">
${CARDS.map(cardHtml).join("\n")}
</main>
<footer><p>The whole source is <code>examples/shop/shop.ts</code>, about 200 lines.</p></footer>
<script type="module">${SCRIPT}</script>
</body>
</html>
`;
}

/** The card of a contract. The part below the line shows its last request. */
function cardHtml({ id, title, why, body }: Card): string {
  const source = SOURCES[id]!;
  return `<section aria-labelledby="${id}-title" id="${id}-card">
  <h2 id="${id}-title">${title}</h2>
  <p>${why}</p>
  ${body}
  <p class="fault" id="${id}-fault" role="alert" hidden></p>
  <details class="how" open>
    <summary>Request, answer and source</summary>
    <h3>Request</h3><pre id="${id}-request" tabindex="0" aria-label="The request of this card">Not sent yet: press a button.</pre>
    <h3>Answer</h3><pre id="${id}-answer" tabindex="0" aria-label="The answer to it">–</pre>
    <h3>shop.ts, lines ${source.first} to ${source.last}</h3>
    <pre tabindex="0" aria-label="The source of this card"><code>${highlighted(source.code)}</code></pre>
  </details>
</section>`;
}

const SWITCH = `<div class="switch">
    <button class="quiet" id="unplug" aria-pressed="false">Unplug the store</button>
    <p id="unplug-text">Takes the store away from all contracts, as an outage would. Then press the buttons below.</p>
  </div>`;

/** The picture of the parts, from the browser to the engine. */
function picture(engine: string): string {
  const contracts = ["sessions", "idempotency", "throttles", "locks", "cache", "outbox"];
  const title =
    `Your browser asks a Hono app; its contracts run on one store, whose state lives in ${engine}.`;
  return `<div class="picture" role="img" aria-label="${title}">
    <div><span>your browser</span></div>
    <div class="contracts">${contracts.map((name) => `<span>${name}</span>`).join("")}</div>
    <div><span>one store: pure transitions, one key a call</span></div>
    <div class="engine"><span>${engine}</span></div>
  </div>
  <p>State lives in <strong id="engine">${engine}</strong>.</p>`;
}

/** The code as HTML, with its comments, strings and words marked. */
function highlighted(code: string): string {
  const escaped = code.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const token = /(\/\/.*$)|("[^"\n]*"|`[^`\n]*`)|\b(const|async|await|return|if|new|for|of|undefined)\b/gm;
  return escaped.replaceAll(token, (text, comment, string) => {
    return `<span class="${comment ? "c" : string ? "s" : "k"}">${text}</span>`;
  });
}
