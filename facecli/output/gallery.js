"use strict";
(() => {
  const cards = [...document.querySelectorAll("article")];
  const byId = (id) => document.getElementById(id);
  const shown = () => cards.filter((card) => !card.hidden);

  // The slider hides less similar matches; at its left end it hides none.
  const least = byId("least");
  const filter = () => {
    const from = least.value === least.min ? -Infinity : Number(least.value);
    for (const card of cards) card.hidden = Number(card.dataset.similarity) < from;
    byId("from").textContent = Number(least.value).toFixed(2);
    byId("count").textContent = `${shown().length} of ${cards.length}`;
    label();
  };
  if (least) least.addEventListener("input", filter);

  // Sorts the cards of each query; equal ones stay in the order of similarity.
  const orders = {
    similarity: (a, b) => b.dataset.similarity - a.dataset.similarity,
    time: (a, b) => b.dataset.time.localeCompare(a.dataset.time),
    folder: (a, b) => a.dataset.path.localeCompare(b.dataset.path),
  };
  const sort = (order) => {
    cards.sort(orders.similarity).sort(orders[order]);
    for (const box of document.querySelectorAll(".cards")) box.append(...cards.filter((card) => card.parentNode === box));
    // In the order of the page, for the arrow keys.
    cards.sort((a, b) => (a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
  };
  byId("sort")?.addEventListener("change", (event) => sort(event.target.value));

  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  byId("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; });

  let telling = 0;
  const tell = (text) => {
    byId("told").textContent = text;
    clearTimeout(telling);
    telling = setTimeout(() => { byId("told").textContent = ""; }, 2000);
  };
  // Some browsers give pages from disk no access to the clipboard; there a selected text field is copied.
  const copyBySelection = (text) => {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  };
  const copy = async (text, said) => {
    const copied = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    const done = copied || copyBySelection(text);
    tell(done ? `Copied ${said}` : `The browser does not allow copying: ${said}`);
  };
  const copyPath = async (card) => {
    await copy(card.dataset.path, card.dataset.path);
    card.focus();
  };

  // The button copies the selected paths, or all that are shown if none is selected; each path once.
  const chosen = () => shown().filter((card) => card.querySelector(".chosen").checked);
  const count = (number) => `${number} path${number === 1 ? "" : "s"}`;
  const label = () => { byId("copy").textContent = chosen().length ? `Copy ${count(chosen().length)}` : "Copy all paths"; };
  document.addEventListener("change", (event) => { if (event.target.matches(".chosen")) label(); });
  byId("copy")?.addEventListener("click", () => {
    const wanted = chosen().length ? chosen() : shown();
    const paths = [...new Set(wanted.map((card) => card.dataset.path))];
    copy(paths.join("\n"), count(paths.length));
  });

  // Cards of one row have the same top; the card above or below is the nearest one of the next row.
  const vertical = (list, at, step) => {
    const here = list[at].getBoundingClientRect();
    let row = null;
    let best = at;
    let distance = Infinity;
    for (let i = at + step; i >= 0 && i < list.length; i += step) {
      const there = list[i].getBoundingClientRect();
      if (Math.abs(there.top - here.top) < 1) continue;
      row ??= there.top;
      if (Math.abs(there.top - row) >= 1) break;
      if (Math.abs(there.left - here.left) < distance) { best = i; distance = Math.abs(there.left - here.left); }
    }
    return best;
  };
  const moves = {
    ArrowRight: (list, at) => at + 1,
    ArrowLeft: (list, at) => at - 1,
    ArrowDown: (list, at) => vertical(list, at, 1),
    ArrowUp: (list, at) => vertical(list, at, -1),
    Home: () => 0,
    End: (list) => list.length - 1,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input:not(.chosen), select, textarea")) return;
    const list = shown();
    const card = event.target.closest("article");
    if (event.key in moves && list.length) {
      const at = list.indexOf(card);
      const next = at < 0 && event.key !== "End" ? 0 : Math.min(Math.max(moves[event.key](list, at), 0), list.length - 1);
      list[next].focus();
      list[next].scrollIntoView({ block: "nearest" });
      event.preventDefault();
    } else if (card && event.target === card && event.key === "Enter") {
      card.querySelector("a[href]").click();
    } else if (card && event.key === "c") {
      copyPath(card);
    } else if (card && event.key === "x") {
      card.querySelector(".chosen").checked ^= true;
      label();
    }
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copyPath(button.closest("article"));
  });
})();
