// Formulas are set by KaTeX, which comes with these pages: nothing is fetched from another host.
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".arithmatex")) {
    const source = element.textContent.trim().slice(2, -2); // without \( \) or \[ \]
    katex.render(source, element, { displayMode: element.tagName === "DIV", throwOnError: false });
  }
});
