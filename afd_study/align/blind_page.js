/* A blind page: shows pairs, takes answers by key or button, and saves them. Texts are text, never markup. */
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const { page, pairs } = JSON.parse(at("data").textContent);
  const ANSWERS = ["first", "second", "same"];
  const KEYS = new Map([
    ["1", "first"], ["ArrowLeft", "first"],
    ["2", "second"], ["ArrowRight", "second"],
    ["0", "same"], [" ", "same"],
  ]);
  const NAME = `afd-blind-${page}`;
  const PAUSE = 250; // ms in which a second press is taken for a slip: its pair has hardly been seen
  const answers = new Map();
  let place = 0; // of the pair on show
  let screen = "start";
  let since = 0; // when this pair came on show, in ms
  let stores = true; // whether the browser keeps answers
  let isSaved = false;

  function recall() {
    try {
      const record = JSON.parse(localStorage.getItem(NAME) ?? "{}");
      for (const { id } of pairs) {
        if (ANSWERS.includes(record?.[id])) { answers.set(id, record[id]); }
      }
    } catch { // storage is blocked, or holds something else
      stores = false;
    }
  }

  function keep() {
    try {
      localStorage.setItem(NAME, JSON.stringify(Object.fromEntries(answers)));
      stores = true;
    } catch {
      stores = false;
    }
  }

  function open(name, title) {
    screen = name;
    for (const each of ["start", "compare", "finish"]) { at(each).hidden = each !== name; }
    at(title).focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  function write(id, text) {
    const node = at(id);
    node.textContent = text;
    node.classList.toggle("blank", text.trim() === "");
  }

  function showStart() {
    const n = answers.size;
    at("begin").textContent = n ? "Go on" : "Begin";
    at("discard").hidden = !n;
    let words = n ? `This browser has kept ${n} of ${pairs.length} answers.` : "";
    if (!stores) { words = "This browser keeps no answers of this page: don't close it before you have saved them."; }
    at("kept").textContent = words;
    open("start", "start-title");
  }

  function showPair(where) {
    place = where;
    const pair = pairs[place];
    write("pair-title", `Pair ${place + 1} of ${pairs.length}`);
    for (const part of ["prompt", "first", "second"]) { write(part, pair[part]); }
    for (const answer of ANSWERS) {
      const isChosen = answers.get(pair.id) === answer;
      at(`choose-${answer}`).setAttribute("aria-pressed", String(isChosen));
      if (answer !== "same") { at(`${answer}-side`).classList.toggle("chosen", isChosen); }
    }
    at("forward").disabled = !answers.has(pair.id);
    at("bar").max = pairs.length;
    at("bar").value = answers.size;
    at("count").textContent = `${answers.size} of ${pairs.length} answered`;
    since = performance.now();
    open("compare", "pair-title");
  }

  function showFinish() {
    at("copy").value = labels();
    open("finish", "finish-title");
  }

  /* Shows the first pair without an answer, or the end. */
  function goOn() {
    const next = pairs.findIndex(({ id }) => !answers.has(id));
    if (next < 0) { showFinish(); } else { showPair(next); }
  }

  function choose(answer) {
    if (screen !== "compare") { return; }
    answers.set(pairs[place].id, answer);
    isSaved = false;
    keep();
    goOn();
  }

  function back() {
    if (screen === "finish") {
      showPair(pairs.length - 1);
    } else if (screen === "compare") {
      if (place) { showPair(place - 1); } else { showStart(); }
    }
  }

  function forward() {
    if (place + 1 < pairs.length) { showPair(place + 1); } else { goOn(); }
  }

  function labels() {
    const rows = pairs.map(({ id }) => ({ pair: id, answer: answers.get(id) }));
    return `${JSON.stringify({ page, answers: rows, saved_at: new Date().toISOString() }, null, 1)}\n`;
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([labels()], { type: "application/json" }));
    link.download = "blind_labels.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    isSaved = true;
    at("saved").textContent = "The file blind_labels.json is where your browser puts downloads.";
  }

  function discard() {
    if (!window.confirm(`Discard ${answers.size} answers?`)) { return; }
    answers.clear();
    keep();
    showStart();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) { return; }
    const isControl = event.target.closest?.("button, summary, textarea");
    if (event.key === " " && isControl) { return; } // works the control
    if (event.key === "Backspace" && screen !== "start" && !event.target.closest?.("textarea")) {
      event.preventDefault();
      back();
    } else if (KEYS.has(event.key) && screen === "compare") {
      event.preventDefault();
      if (performance.now() - since > PAUSE) { choose(KEYS.get(event.key)); }
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (answers.size && !isSaved && !stores) { event.preventDefault(); }
  });
  for (const answer of ANSWERS) { at(`choose-${answer}`).addEventListener("click", () => choose(answer)); }
  at("begin").addEventListener("click", goOn);
  at("discard").addEventListener("click", discard);
  at("back").addEventListener("click", back);
  at("forward").addEventListener("click", forward);
  at("last").addEventListener("click", back);
  at("save").addEventListener("click", save);
  recall();
  showStart();
})();
