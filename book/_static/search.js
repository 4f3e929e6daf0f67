// The search page: MiniSearch over the sections of the book, in SECTIONS as book/_ext/book_search.py wrote them.
const FILLER = new Set(`a about an and any are as at be but by can did do does for from had has have how i if in into is
  it its me much many my no not of on one or so such than that the their then there these they this to was we were what
  when where which who why will with would you your explain explained meaning mean definition`.split(/\s+/));
// Other words for what the book calls differently, or spells out.
const ALSO = {
  mla: "multi-head latent attention", moe: "mixture of experts", mtp: "multi-token prediction", kv: "key-value",
  gqa: "grouped-query attention", mqa: "multi-query attention", mha: "multi-head attention", rope: "rotary",
  mfu: "utilisation", distillation: "distilled", price: "cost", expensive: "cost", money: "dollars", gpus: "GPU",
  stock: "share", router: "routing", energy: "electricity", power: "electricity", finetuning: "fine-tuning",
  5: "five", 6: "six", million: "millions", inference: "serving", drafting: "speculative",
};
// How much a hit counts, by page: the ledger has nine hundred short entries, which would crowd out the chapters.
const WEIGHTS = { "book/ledger": 0.15, "book/intro": 3, "book/verdicts": 1.5, "book/bibliography": 0.5 };

// W^{UK} is one word, and so are 5.576 and 2,788,000; LaTeX's commands are none.
const words = (text) => text
  .replace(/\\[a-zA-Z]+/g, " ").replace(/[{}]/g, "")
  .replace(/\b(\p{L})((?:[\^_][\p{L}\p{N}]+)+)/gu, (all, base, marks) => base + marks.replace(/[\^_]/g, ""))
  .replace(/(\d),(?=\d{3})/g, "$1")
  .match(/\d+(?:\.\d+)+\p{L}*|[\p{L}\p{N}]+(?:_[\p{L}\p{N}]+)*/gu) ?? [];
const term = (word) => {
  const lower = word.toLowerCase();
  if (FILLER.has(lower)) return null;
  return lower.length > 3 && /[^s]s$/.test(lower) ? lower.slice(0, -1) : lower;
};

function makeIndex(rows) {
  const index = new MiniSearch({
    fields: ["title", "page", "text", "code"], tokenize: words, processTerm: term,
    storeFields: ["row"],
  });
  index.addAll(rows.map((row, id) => ({ id, row, title: row[3], page: row[1], text: row[4], code: row[5] })));
  return index;
}

// A word as a query: itself or the other words for it.
const either = (word) => {
  const also = ALSO[word.toLowerCase()];
  return also ? { combineWith: "OR", queries: [word, { combineWith: "AND", queries: words(also) }] } : word;
};
const plain = (text) => words(text).map(term).filter(Boolean).join(" ");

// How much a hit on a row counts: an entry called as the query is more, an exercise less.
function weigh([page, , , title], wanted) {
  const called = wanted.includes(plain(title)) ? 4 : 1;
  return called * (/\(\d+ minutes/.test(title) ? 0.4 : 1) * (WEIGHTS[page] ?? 1);
}

// Rows with all words first, then rows with some of them.
function find(index, query) {
  const kept = words(query).filter((word) => term(word));
  // Everything here is about DeepSeek.
  const telling = kept.filter((word) => word.toLowerCase() !== "deepseek");
  const asked = telling.length ? telling : kept;
  const wanted = [plain(query), plain(asked.map((word) => ALSO[word.toLowerCase()] ?? word).join(" "))];
  const options = {
    boost: { title: 4, page: 1.5, text: 1, code: 0.3 },
    prefix: (word) => word.length > 3 && !/^\d/.test(word),
    fuzzy: (word) => (word.length > 5 && !/\d/.test(word) ? 0.2 : false),
    weights: { fuzzy: 0.1, prefix: 0.4 },
    boostDocument: (id, word, stored) => weigh(stored.row, wanted),
  };
  const queries = asked.map(either);
  const all = index.search({ combineWith: "AND", queries }, options);
  const seen = new Set(all.map((hit) => hit.id));
  const some = index.search({ combineWith: "OR", queries }, options).filter((hit) => !seen.has(hit.id));
  return [...all, ...some].slice(0, 40);
}

function snippet(text, found) {
  const lower = text.toLowerCase();
  const places = found.map((word) => lower.indexOf(word)).filter((place) => place >= 0);
  const start = Math.max(Math.min(...places, text.length) - 80, 0);
  const from = places.length && start ? text.indexOf(" ", start) + 1 : 0;
  return (from ? "… " : "") + text.slice(from, from + 200).trim() + (from + 200 < text.length ? " …" : "");
}

function show(hits, query, place) {
  const summary = document.createElement("p");
  summary.className = "search-summary";
  summary.setAttribute("role", "status");
  summary.textContent = hits.length
    ? `${hits.length === 40 ? "The 40 best" : hits.length} results for “${query}”`
    : `Nothing found for “${query}”. Try fewer or other words; the glossary has the terms of the book.`;
  const list = document.createElement("ul");
  list.className = "search";
  for (const { row: [page, pageTitle, anchor, title, text], terms } of hits) {
    const item = list.appendChild(document.createElement("li"));
    const link = item.appendChild(document.createElement("a"));
    link.href = `${page}.html${anchor && "#"}${anchor}`;
    link.textContent = anchor ? `${title} (${pageTitle})` : title;
    const context = item.appendChild(document.createElement("p"));
    context.className = "context";
    context.textContent = snippet(text, terms);
  }
  place.replaceChildren(summary, list);
}

if (typeof document !== "undefined") {
  const query = new URLSearchParams(location.search).get("q")?.trim();
  for (const field of document.querySelectorAll('input[name="q"]')) field.value = query ?? "";
  if (query) show(find(makeIndex(SECTIONS), query), query, document.getElementById("search-results"));
}
