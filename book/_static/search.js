// The search page: BM25 over the sections of the book, packed in SECTIONS by book/_ext/book_search.py.
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
const WEIGHTS = { "book/ledger": 0.15, "book/intro": 3, "book/verdicts": 1.5, "book/contradictions": 0.6, "book/bibliography": 0.5 };

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

const termsOf = (text) => words(text).map(term).filter(Boolean);
const plain = (text) => termsOf(text).join(" ");
const FIELDS = { title: 4, page: 1.5, text: 1, code: 0.3 };  // how much a word counts by where it stands

// {word: [[row, field, how often], ...]}, and how many words each field of each row has.
function makeIndex(rows) {
  const index = { rows, places: new Map(), lengths: {}, means: {} };
  for (const field of Object.keys(FIELDS)) index.lengths[field] = rows.map(() => 0);
  rows.forEach(([, page, , title, text, code], row) => {
    for (const [field, content] of Object.entries({ title, page, text, code })) {
      const counts = new Map();
      for (const word of termsOf(content)) counts.set(word, (counts.get(word) ?? 0) + 1);
      for (const [word, count] of counts) {
        if (!index.places.has(word)) index.places.set(word, []);
        index.places.get(word).push([row, field, count]);
        index.lengths[field][row] += count;
      }
    }
  });
  for (const [field, lengths] of Object.entries(index.lengths)) {
    index.means[field] = lengths.reduce((a, b) => a + b, 0) / rows.length || 1;
  }
  return index;
}

// How many letters must be changed, added or left out to make one word of the other.
function distance(a, b) {
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row[b.length];
}

// How far a word of the book answers a word of the query: itself 1, its beginning less.
function likeness(wanted, word) {
  if (word === wanted) return 1;
  return wanted.length > 3 && !/\d/.test(wanted) && word.startsWith(wanted) ? 0.4 * wanted.length / word.length : 0;
}

// The word as the book has it: itself, or for a slip of the finger the nearest word that stands somewhere.
function known(index, word) {
  const wanted = term(word);
  const slips = Math.round(0.2 * wanted.length);
  const all = [...index.places.keys()];
  if (wanted.length < 5 || /\d/.test(wanted) || all.some((one) => one.startsWith(wanted))) return word;
  const near = all
    .filter((one) => Math.abs(one.length - wanted.length) <= slips)
    .map((one) => [distance(wanted, one), -index.places.get(one).length, one])
    .filter(([far]) => far <= slips)
    .sort(([a, x], [b, y]) => a - b || x - y);
  return near.length ? near[0][2] : word;
}

// {row: score} of one word, by BM25: rare words count more, repetitions and long texts less.
function scores(index, wanted) {
  const found = new Map();
  for (const [word, places] of index.places) {
    const weight = likeness(wanted, word);
    if (!weight) continue;
    const among = new Set(places.map(([row]) => row)).size;
    const rarity = Math.log(1 + (index.rows.length - among + 0.5) / (among + 0.5));
    for (const [row, field, count] of places) {
      const length = index.lengths[field][row] / index.means[field];
      const often = count * 2.2 / (count + 1.2 * (0.3 + 0.7 * length));
      found.set(row, (found.get(row) ?? 0) + weight * FIELDS[field] * rarity * often);
    }
  }
  return found;
}

function anyOf(maps) {
  const found = new Map();
  for (const map of maps) for (const [row, score] of map) found.set(row, (found.get(row) ?? 0) + score);
  return found;
}
const allOf = (maps) => new Map([...anyOf(maps)].filter(([row]) => maps.every((map) => map.has(row))));

// The scores of a word of the query: its own, and those of the other words for it.
function either(index, word) {
  const scoresOf = (text) => termsOf(text).map((wanted) => scores(index, wanted));
  const also = ALSO[word.toLowerCase()];
  return anyOf([...scoresOf(word), ...(also ? [allOf(scoresOf(also))] : [])]);
}

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
  const asked = (telling.length ? telling : kept).map((word) => known(index, word));
  const wanted = [plain(asked.join(" ")), plain(asked.map((word) => ALSO[word.toLowerCase()] ?? word).join(" "))];
  const terms = wanted.join(" ").split(" ");
  const ranked = (found) => [...found]
    .map(([id, score]) => ({ row: index.rows[id], score: score * weigh(index.rows[id], wanted), terms }))
    .sort((a, b) => b.score - a.score);
  const maps = asked.map((word) => either(index, word));
  const all = allOf(maps);
  const some = new Map([...anyOf(maps)].filter(([row]) => !all.has(row)));
  return [...ranked(all), ...ranked(some)].slice(0, 40);
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
  const place = document.getElementById("search-results");
  if (query) unpack(SECTIONS).then((rows) => show(find(makeIndex(JSON.parse(rows)), query), query, place));
}
