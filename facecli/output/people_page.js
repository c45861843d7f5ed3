"use strict";
(() => {
  const main = document.querySelector("main");
  const cards = [...main.querySelectorAll("article")];
  const byId = (id) => document.getElementById(id);

  // Pictures are text until they are near the window, and text again when they are far from it.
  const pictures = new Map();
  const textsOf = (card) => {
    if (!pictures.has(card)) pictures.set(card, JSON.parse(card.querySelector("script").textContent));
    return pictures.get(card);
  };
  const show = (card) => {
    const texts = textsOf(card);
    card.querySelectorAll(".picture").forEach((picture, i) => {
      if (picture.tagName === "IMG") picture.src = `data:image/jpeg;base64,${texts[i]}`;
    });
  };
  const drop = (card) => {
    pictures.delete(card);
    for (const picture of card.querySelectorAll("img")) picture.removeAttribute("src");
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) (entry.isIntersecting ? show : drop)(entry.target);
  }, { rootMargin: "1200px 0px" });
  for (const card of cards) watcher.observe(card);

  const clean = (text) => text.normalize("NFC").trim().replace(/\s+/g, " ");
  const nameOf = (card) => clean(card.querySelector(".called").value);
  const sameName = (text) => clean(text.toLowerCase());
  const isHidden = (card) => card.querySelector(".hide").checked;
  const refused = (card) => [...card.querySelectorAll('.mark[aria-pressed="true"]')].map((mark) => Number(mark.dataset.face));
  const facesOf = (card) => card.dataset.faces.split(",").map(Number);
  const isChanged = (card) =>
    nameOf(card) !== card.dataset.name || isHidden(card) !== (card.dataset.hidden === "1") || refused(card).length > 0;

  // What is left as it was stays out of the sheet, so that an old page takes nothing back.
  const lineOf = (card) => JSON.stringify({
    person: Number(card.dataset.person),
    name: nameOf(card) === card.dataset.name ? null : nameOf(card),
    hidden: isHidden(card) === (card.dataset.hidden === "1") ? null : isHidden(card),
    faces: facesOf(card),
    not: refused(card),
    index: main.dataset.index,
  });

  const byName = new Map();
  const leave = (card) => {
    const key = card.namedAs;
    if (!key) return;
    const group = byName.get(key);
    group.delete(card);
    if (!group.size) byName.delete(key);
  };
  const note = (key) => {
    const group = [...(byName.get(key) ?? [])];
    for (const card of group) {
      const others = group.filter((other) => other !== card).map((other) => other.dataset.person);
      card.querySelector(".note").textContent = others.length ? `Becomes one with person ${others.join(", ")}` : "";
    }
  };
  const register = (card) => {
    const before = card.namedAs;
    leave(card);
    const key = sameName(nameOf(card));
    card.namedAs = key;
    card.querySelector(".note").textContent = "";
    if (key) {
      if (!byName.has(key)) byName.set(key, new Set());
      byName.get(key).add(card);
      note(key);
    }
    if (before && before !== key) note(before);
  };
  for (const card of cards) register(card);

  const changed = new Set();
  let saved = true;
  const tellCount = () => {
    byId("save").disabled = changed.size === 0;
    byId("changed").textContent = changed.size ? `${changed.size} changed${saved ? ", saved" : ""}` : "Nothing changed yet";
  };
  const update = (card) => {
    const is = isChanged(card);
    card.classList.toggle("changed", is);
    card.classList.toggle("hidden-person", isHidden(card));
    changed[is ? "add" : "delete"](card);
    saved = false;
    tellCount();
  };

  main.addEventListener("input", (event) => {
    const card = event.target.closest("article");
    if (event.target.matches(".called")) register(card);
    update(card);
  });
  main.addEventListener("click", (event) => {
    const mark = event.target.closest(".mark");
    if (!mark) return;
    mark.setAttribute("aria-pressed", String(mark.getAttribute("aria-pressed") !== "true"));
    update(mark.closest("article"));
  });

  const shown = () => cards.filter((card) => !card.hidden);
  const go = (card, step) => {
    const list = shown();
    const next = list[list.indexOf(card) + step];
    if (!next) return;
    const field = next.querySelector(".called");
    field.focus();
    field.select();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest?.(".called");
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      save();
    } else if (field && event.key === "Enter") {
      event.preventDefault();
      go(field.closest("article"), event.shiftKey ? -1 : 1);
    } else if (event.key === "/" && !event.target.matches("input, textarea")) {
      event.preventDefault();
      byId("find").focus();
    }
  });

  byId("find").addEventListener("input", () => {
    const wanted = sameName(byId("find").value);
    for (const card of cards) {
      card.hidden = wanted !== "" && !sameName(nameOf(card)).includes(wanted) && card.dataset.person !== wanted;
    }
  });

  let telling = 0;
  const tell = (text) => {
    byId("told").textContent = text;
    clearTimeout(telling);
    telling = setTimeout(() => { byId("told").textContent = ""; }, 6000);
  };
  const sheet = () => cards.filter((card) => changed.has(card)).map((card) => `${lineOf(card)}\n`).join("");
  const save = () => {
    if (!changed.size) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([sheet()], { type: "application/x-ndjson" }));
    link.download = "names.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
    tellCount();
    tell("Saved names.jsonl; now run: facecli people apply names.jsonl");
  };
  byId("save").addEventListener("click", save);
  window.addEventListener("beforeunload", (event) => { if (changed.size && !saved) event.preventDefault(); });

  const root = document.documentElement;
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  byId("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; });
})();
