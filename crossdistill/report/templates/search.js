"use strict";
// Filters samples and marks chunks by text and kind. The page is whole without it.
(() => {
  const form = document.querySelector("form.search");
  const { text, kind, previous } = form.elements;
  const output = form.querySelector("output");
  const kindOf = /^chunk \d+, (\S+?)(?:,| \()/;
  let index = null;
  let found = [];
  let current = -1;

  // spaces, line breaks and tabs as the page shows them
  const shown = (words) => words.toLowerCase().replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥");

  // of each sample: its chunks, their kinds, its whole text, and where each chunk starts in it
  const build = () =>
    [...document.querySelectorAll(".sample")].map((sample) => {
      const chunks = [...sample.querySelectorAll(".chunk")];
      const kinds = chunks.map((chunk) => kindOf.exec(chunk.title)[1]);
      const starts = [];
      let whole = "";
      for (const chunk of chunks) {
        starts.push(whole.length);
        const codes = chunk.querySelectorAll(".student code");
        whole += shown(chunk.dataset.text ?? Array.from(codes, (code) => code.textContent).join(""));
      }
      starts.push(whole.length);
      return { sample, chunks, kinds, starts, whole };
    });

  const hits = ({ starts, whole }, query) => {
    const touched = new Set();
    let chunk = 0;
    for (let at = whole.indexOf(query); at >= 0; at = whole.indexOf(query, at + query.length)) {
      while (starts[chunk + 1] <= at) chunk += 1;
      for (let k = chunk; k + 1 < starts.length && starts[k] < at + query.length; k += 1) touched.add(k);
    }
    return touched;
  };

  const isWanted = (value) =>
    kind.value === "" || kind.value === value || (kind.value === "mismatched" && /^(1:n|n:1|n:m)$/.test(value));

  const search = () => {
    index ??= build();
    for (const chunk of document.querySelectorAll(".chunk.found")) chunk.classList.remove("found");
    found = [];
    current = -1;
    const query = shown(text.value);
    const isIdle = query === "" && kind.value === "";
    let numSamples = 0;
    for (const entry of index) {
      const touched = query === "" ? null : hits(entry, query);
      const matched = isIdle
        ? []
        : entry.chunks.filter((_, k) => (touched === null || touched.has(k)) && isWanted(entry.kinds[k]));
      for (const chunk of matched) chunk.classList.add("found");
      entry.sample.hidden = !isIdle && matched.length === 0;
      numSamples += matched.length > 0 ? 1 : 0;
      found.push(...matched);
    }
    output.textContent = isIdle ? "" : `${found.length} chunks in ${numSamples} of ${index.length} samples`;
  };

  const step = (by) => {
    if (found.length === 0) return;
    current = current < 0 ? (by > 0 ? 0 : found.length - 1) : (current + by + found.length) % found.length;
    location.hash = found[current].id;
  };

  let waiting;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, 150);
  });
  kind.addEventListener("change", search);
  previous.addEventListener("click", () => step(-1));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    if (found.length === 0) search();
    step(1);
  });
  form.hidden = false;
})();
