// Makes forms of the questions under "Test yourself". Without this script they are a list with folded answers.
(() => {
  const questions = [...document.querySelectorAll("#test-yourself > ol > li")];
  if (!questions.length) return;

  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  // Options and the answer begin with a letter in bold: "A.", "B." and so on.
  const letter = (node) => node.querySelector("strong").textContent.charAt(0);

  const first = new Map(); // question: was the first answer right?
  const score = make("output");
  const again = make("button", { type: "button", textContent: "Start again" });
  const end = make("p", { className: "selftest-score", hidden: true }, score, again);

  const forms = questions.map((question, index) => {
    const [stem, options, answer] = question.children;
    const legend = make("legend", {}, `${index + 1}. `, ...stem.childNodes);
    const labels = [...options.children].map((option) => {
      const radio = make("input", { type: "radio", name: "option", value: letter(option) });
      const text = option.querySelector("p") ?? option;
      return make("label", {}, radio, make("span", {}, ...text.childNodes));
    });
    const check = make("button", { type: "submit", textContent: "Check" });
    check.setAttribute("aria-label", `Check answer ${index + 1}`);
    const verdict = make("output");
    const foot = make("p", {}, check, verdict);
    const form = make("form", { className: "selftest" }, make("fieldset", {}, legend, ...labels, foot));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const chosen = form.elements.option.value;
      if (!chosen) {
        verdict.textContent = "Choose an answer first.";
        return;
      }
      const right = chosen === letter(answer);
      verdict.textContent = right ? "Right." : `Not ${chosen}: the answer is ${letter(answer)}.`;
      answer.hidden = false;
      answer.open = true;
      if (first.has(question)) return;
      first.set(question, right);
      tell();
    });
    form.addEventListener("change", () => { verdict.textContent = ""; });
    form.addEventListener("reset", () => {
      verdict.textContent = "";
      answer.hidden = true;
      answer.open = false;
    });
    stem.remove();
    options.replaceWith(form);
    answer.hidden = true;
    return form;
  });

  const tell = () => {
    const right = [...first.values()].filter(Boolean).length;
    score.textContent = first.size < questions.length
      ? `${right} of ${first.size} right so far, ${questions.length - first.size} to go.`
      : `Your score: ${right} of ${questions.length} right at the first try.`;
    end.hidden = false;
  };

  again.addEventListener("click", () => {
    forms.forEach((form) => form.reset());
    first.clear();
    score.textContent = "";
    end.hidden = true;
    forms[0].elements.option[0].focus();
  });

  questions[0].parentElement.after(end);
})();
