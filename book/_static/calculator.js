// The calculators: what is typed goes to a worker, where Brython runs the book's modules; what comes back is shown.
// The worker starts at the first touch of a form, or when the address holds inputs.
(() => {
  const engineAddress = new URL("calculator_engine.js", document.currentScript.src).href;
  const roots = [...document.querySelectorAll(".calculator")];
  const byKey = new Map();
  const waiting = new Map(); // key -> the newest request that is not yet at the worker
  let worker, ready = false, busy = false, number = 0;

  const start = () => {
    if (worker !== undefined) return;
    worker = null;
    const script = document.createElement("script");
    script.src = engineAddress;
    script.onerror = () => failed("Python could not be loaded; the results shown are those of the defaults.");
    script.onload = async () => {
      const program = await unpack(window.calculatorEngine);
      delete window.calculatorEngine;
      worker = new Worker(URL.createObjectURL(new Blob([program], { type: "text/javascript" })));
      worker.onmessage = (event) => receive(JSON.parse(event.data));
      worker.onerror = (event) => failed(`Python stopped: ${event.message}`);
    };
    document.head.append(script);
  };

  const failed = (text) => byKey.forEach((one) => one.say(text));

  const receive = (reply) => {
    if (reply.ready) {
      ready = true;
    } else {
      busy = false;
      const one = byKey.get(reply.key);
      if (reply.number === one.newest) one.show(reply);
    }
    next();
  };

  const next = () => {
    if (!ready || busy || !waiting.size) return;
    const [key, request] = waiting.entries().next().value;
    waiting.delete(key);
    busy = true;
    worker.postMessage(JSON.stringify(request));
  };

  const asCsv = (tables) => {
    const quoted = (cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : String(cell));
    const line = (cells) => cells.map(quoted).join(",");
    return tables.map((table) => [line([table.title]), line(table.header), ...table.rows.map(line)].join("\n"))
      .join("\n\n") + "\n";
  };

  const download = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const calculator = (root) => {
    const key = root.dataset.calculator;
    const form = root.querySelector("form");
    const status = root.querySelector(".calculator-status");
    const result = root.querySelector(".calculator-result");
    const general = root.querySelector("[data-general]");
    const configs = JSON.parse(root.querySelector("[data-configs]")?.textContent ?? "null");
    const controls = [...form.elements].filter((control) => control.name);
    const defaults = new Map();
    const one = { key, newest: 0, reply: JSON.parse(root.querySelector("[data-reply]").textContent) };
    let timer;

    const pasted = form.elements["config.json"];
    const fillConfig = () => {
      if (configs && configs[form.elements.configuration.value]) pasted.value = configs[form.elements.configuration.value];
    };
    fillConfig();
    controls.forEach((control) => defaults.set(control.name, control.value));

    // What differs from the defaults; the text of a config.json only if it was typed.
    const typed = () => Object.fromEntries(controls
      .filter((control) => control.value !== defaults.get(control.name))
      .filter((control) => control !== pasted || form.elements.configuration.value === "pasted")
      .map((control) => [control.name, control.value]));
    const state = () => [key, ...Object.entries(typed()).map((pair) => pair.map(encodeURIComponent).join("="))].join("&");

    const clearMessages = () => {
      root.querySelectorAll(".calculator-message").forEach((message) => { message.hidden = true; message.textContent = ""; });
      controls.forEach((control) => control.removeAttribute("aria-invalid"));
    };

    one.say = (text) => { status.textContent = text; };

    one.ask = (first) => {
      expect();
      waiting.set(key, { number, key, typed: typed(), first });
      if (first) one.say(ready ? "Calculating …" : "Loading Python, once: a few seconds …");
      start();
      next();
    };

    one.show = (reply) => {
      root.setAttribute("aria-busy", "false");
      clearMessages();
      if (reply.message) {
        const control = reply.field && form.elements[reply.field];
        const message = control ? document.getElementById(`${control.id}--message`) : general;
        message.textContent = reply.message;
        message.hidden = false;
        if (control) {
          control.setAttribute("aria-invalid", "true");
          const folded = control.closest("details");
          if (folded) folded.open = true;
        }
        result.classList.add("stale");
        one.say(`Not calculated. ${reply.message}`);
        return;
      }
      result.classList.remove("stale");
      const open = [...result.querySelectorAll("details")].map((details) => details.open);
      result.innerHTML = reply.html;
      result.querySelectorAll("details").forEach((details, place) => { details.open = Boolean(open[place]); });
      one.reply = reply;
      if (reply.more) {
        one.say(`${reply.draws.toLocaleString("en")} draws so far; drawing ${reply.inputs.n_draws.toLocaleString("en")} …`);
        root.setAttribute("aria-busy", "true");
        timer = setTimeout(() => one.ask(false), 1000); // who goes on typing need not wait for all draws
      } else {
        one.say(reply.summary);
      }
    };

    one.open = (inputs) => {
      controls.forEach((control) => { control.value = defaults.get(control.name); });
      for (const [name, value] of inputs) if (defaults.has(name)) form.elements[name].value = value;
      if (form.elements.configuration?.value !== "pasted") fillConfig();
      one.ask(true);
      root.closest("section").scrollIntoView();
    };

    // Something was typed: an answer that is still on its way is to an old question.
    const expect = () => {
      clearTimeout(timer);
      one.newest = ++number;
      waiting.delete(key);
      root.setAttribute("aria-busy", "true");
    };

    const changed = () => {
      history.replaceState(null, "", `#${state()}`);
      one.ask(true);
    };

    form.addEventListener("focusin", start);
    form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
    form.addEventListener("reset", () => {
      expect();
      setTimeout(() => { fillConfig(); changed(); }); // after the controls have their defaults again
    });
    form.addEventListener("input", (event) => {
      if (event.target === pasted) form.elements.configuration.value = "pasted";
      else if (event.target.name === "configuration") fillConfig();
      expect();
      timer = setTimeout(changed, event.target.matches("select") ? 0 : 400);
    });

    const copy = (text, what) => navigator.clipboard.writeText(text).then(
      () => one.say(`${what} copied.`),
      () => one.say("The browser does not allow copying; the downloads work."));
    const actions = {
      link: () => copy(`${location.href.split("#")[0]}#${state()}`, "Link"),
      copy: () => copy(asCsv(one.reply.tables), "Tables"),
      csv: () => download(`${key}.csv`, "text/csv", asCsv(one.reply.tables)),
      json: () => {
        const { inputs, summary, tables } = one.reply;
        download(`${key}.json`, "application/json", JSON.stringify({ calculator: key, inputs, summary, tables }, null, 2));
      },
    };
    form.addEventListener("click", (event) => actions[event.target.dataset.do]?.());

    return one;
  };

  // #training-run&tokens.central=20 opens that calculator with that input.
  const fromAddress = () => {
    const [key, ...pairs] = location.hash.slice(1).split("&");
    if (!byKey.has(key) || !pairs.length) return;
    byKey.get(key).open(pairs.map((pair) => {
      const [name, ...value] = pair.split("=");
      return [name, value.join("=")].map(decodeURIComponent);
    }));
  };

  roots.forEach((root) => { const one = calculator(root); byKey.set(one.key, one); });
  window.addEventListener("hashchange", fromAddress);
  fromAddress();
})();
