// The website's pages. Runs in a bare V8 isolate: no DOM, no network, no modules.

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

class Markup {
  constructor(text) { this.text = text; }
}

// html`...` escapes every value that is not markup itself, and joins lists.
function html(parts, ...values) {
  let text = parts[0];
  values.forEach((value, index) => { text += markup(value) + parts[index + 1]; });
  return new Markup(text);
}

function markup(value) {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(markup).join("");
  return String(value).replace(/[&<>"']/g, (character) => ESCAPES[character]);
}

const price = (cents) => `€ ${(cents / 100).toFixed(2)}`;

function layout(title, body, { search = "" } = {}) {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${title} · Harbour Coffee</title>
  <link rel="icon" href="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><text y='13' font-size='13'>☕</text></svg>">
  <link rel="stylesheet" href="/static/site.css">
</head>
<body>
  <header class="bar">
    <a class="brand" href="/">Harbour <span>Coffee</span></a>
    <nav><a href="/">Coffees</a><a href="/about">About</a><a href="/dashboard/">Dashboard</a></nav>
    <form action="/search"><input name="q" type="search" placeholder="Search notes, origins…" aria-label="Search" value="${search}"></form>
  </header>
  <main>${body}</main>
  <footer>Rendered in a V8 isolate. Roasted on Tuesdays.</footer>
</body>
</html>
`;
}

function picture(product) {
  const { hue } = product;
  return html`<div class="picture" style="--hue: ${hue}" role="img" aria-label="A bag of ${product.name}"><i></i></div>`;
}

function card(product) {
  return html`<a class="card" href="/products/${product.slug}">
    ${picture(product)}
    <div class="card-text">
      <small>${product.origin}</small>
      <h3>${product.name}</h3>
      <p>${product.notes}</p>
      <b>${price(product.price_cents)}</b>
    </div>
  </a>`;
}

const pages = {
  home: ({ products }) => layout("Coffees", html`
    <section class="hero">
      <h1>Coffee, roasted<br>within sight of the sea.</h1>
      <p>${products.length} coffees from small farms, roasted to order and in your letterbox two days later.</p>
    </section>
    <section class="grid">${products.map(card)}</section>`),

  product: ({ product }) => layout(product.name, html`
    <section class="detail">
      ${picture(product)}
      <div>
        <small>${product.origin}</small>
        <h1>${product.name}</h1>
        <p class="notes">${product.notes.split(", ").map((note) => html`<span>${note}</span>`)}</p>
        <p class="price" id="price">${price(product.price_cents)} <small>250 g, whole beans</small></p>
        <button id="buy">Order a bag</button> <output id="answer"></output>
      </div>
    </section>
    <script>
      const slug = "${product.slug}";
      document.getElementById("buy").onclick = async () => {
        const order = await fetch("/api/orders", { method: "POST", body: JSON.stringify({ slug, quantity: 1 }) });
        document.getElementById("answer").textContent = order.ok ? "Thank you! Order " + (await order.json()).id : "That failed.";
      };
      const socket = new WebSocket(location.origin.replace("http", "ws") + "/prices");
      socket.onopen = () => socket.send(slug);
      socket.onmessage = (event) => {
        const cents = JSON.parse(event.data).price_cents;
        if (cents) document.getElementById("price").firstChild.data = "€ " + (cents / 100).toFixed(2) + " ";
      };
    </script>`),

  search: ({ text, products }) => layout("Search", html`
    <section class="hero small">
      <h1>${text ? html`“${text}”` : "What would you like?"}</h1>
      <p>${products.length} ${products.length === 1 ? "coffee" : "coffees"}</p>
    </section>
    <section class="grid">${products.map(card)}</section>`, { search: text }),

  about: () => layout("About", html`
    <section class="hero small"><h1>Three people, one drum roaster.</h1></section>
    <section class="prose">
      <p>We have roasted in the old net loft on the quay since 2011. We buy from farms that we have visited, pay before the
      harvest, and print on each bag what we paid.</p>
      <p>This page has been rendered once, by JavaScript in a V8 isolate of the server, and is served from memory until it is
      stale. Then one visitor's request has it rendered again, and nobody waits.</p>
    </section>`),

  message: ({ status, text }) => layout(text, html`
    <section class="hero small"><h1>${status}</h1><p>${text}</p><p><a href="/">Back to the coffees</a></p></section>`),

  draft: ({ name }) => {
    const draft = drafts[name];
    return draft ? draft() : pages.message({ status: 404, text: `There is no draft “${name}”.` });
  },
};

// What authors hand in: one page that is fine, and three that show what the isolate protects the server from.
const drafts = {
  "autumn-sale": () => layout("Autumn sale", html`
    <section class="hero"><h1>Autumn sale</h1><p>Ten percent off everything that tastes of chocolate.</p></section>`),
  "endless": () => { for (;;) { /* an author forgot to count */ } },
  "greedy": () => { const all = []; for (;;) all.push(new Array(10000).fill(all.length)); },
  "broken": () => layout("Broken", html`<p>${undefined.title}</p>`),
};

function render(page, props) {
  return pages[page](props).text;
}
