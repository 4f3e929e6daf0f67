// MathJax starts when the page stands, and sets a formula when it comes near the view: a long chapter has hundreds.
(() => {
  const startup = new URL("mathjax/startup.js", document.currentScript.src);
  const waiting = new Set();
  let turn = new Promise((resolve) => {  // one call after another, the first when MathJax is there
    window.MathJax.startup = { typeset: false, ready: () => {
      MathJax.startup.defaultReady();
      MathJax.startup.promise.then(resolve);
    } };
  });
  const typeset = (formulas) => {
    formulas.forEach((formula) => waiting.delete(formula));
    turn = turn.then(() => formulas.length && MathJax.typesetPromise(formulas)).then(() => {
      for (const formula of formulas) formula.dispatchEvent(new Event("typeset", { bubbles: true }));
    });
    return turn;
  };
  const near = new IntersectionObserver((changes) => {
    const formulas = changes.filter((change) => change.isIntersecting).map((change) => change.target);
    formulas.forEach((formula) => near.unobserve(formula));
    typeset(formulas.filter((formula) => waiting.has(formula)));
  }, { rootMargin: "100% 0px" });

  // All of them at once, for a printer and for whoever measures the page.
  window.typesetAll = () => typeset([...waiting]);
  window.addEventListener("beforeprint", () => MathJax.typeset?.([...waiting]));
  window.addEventListener("load", () => {
    for (const formula of document.querySelectorAll(".math")) {
      waiting.add(formula);
      near.observe(formula);
    }
    const script = document.createElement("script");
    script.src = startup;
    document.head.append(script);
  });
})();
