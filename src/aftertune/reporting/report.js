"use strict";
// The page's only script: filter, sort, copy as CSV, and links that open what is folded. Without it all can be read.
(() => {
  const make = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const status = document.body.appendChild(make("p", "", { class: "vh", role: "status" }));

  // Links: open every fold around the target, also on loading.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  // Filter: by words in a row, and by state.
  const matrices = [...document.querySelectorAll("table.matrix")];
  const rows = [...document.querySelectorAll("table.matrix tbody tr, table.forest tbody tr[id]")];
  const forests = [...document.querySelectorAll("section.metric")];
  if (rows.length > 1) {
    const bar = make("div", "", { class: "controls", role: "search" });
    const label = bar.appendChild(make("label", "Find a metric or arm "));
    const field = label.appendChild(make("input", "", { type: "search", autocomplete: "off" }));
    const states = bar.appendChild(make("fieldset", ""));
    states.appendChild(make("legend", "Show"));
    const boxes = new Map();
    for (const row of rows) {
      const state = row.dataset.state;
      if (!state || boxes.has(state)) continue;
      const each = states.appendChild(make("label", ""));
      const box = each.appendChild(make("input", "", { type: "checkbox" }));
      box.checked = true;
      each.append(` ${row.dataset.words}`);
      boxes.set(state, box);
      box.addEventListener("change", () => filter());
    }
    if (boxes.size < 2) states.remove();
    const filter = () => {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const near = row.closest("section.metric");
        const text = `${near ? near.dataset.name : ""} ${row.textContent} ${row.closest("table").dataset.heads || ""}`;
        const state = boxes.get(row.dataset.state);
        row.hidden = !wanted.every((word) => text.toLowerCase().includes(word)) || Boolean(state && !state.checked);
        shown += !row.hidden;
      }
      for (const each of forests) each.hidden = ![...each.querySelectorAll("tbody tr[id]")].some((row) => !row.hidden);
      if (wanted.length) for (const table of matrices) for (let fold = table.closest("details"); fold; fold = null) fold.open = true;
      status.textContent = `${shown} rows`;
    };
    field.addEventListener("input", filter);
    const place = document.querySelector("#matrix");
    if (place) place.prepend(bar);
  }

  // Sort and copy: tables of plain rows.
  const value = (cell) => {
    const text = (cell ? cell.dataset.value || cell.textContent : "").trim();
    const number = parseFloat(text.replace(/\u2212/g, "-").replace(/(\d),(?=\d{3})/g, "$1"));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const csv = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const safe = (text) => (/^[-=+@\t]/.test(text) && Number.isNaN(Number(text.split(" ")[0])) ? `'${text}` : text);
  for (const table of document.querySelectorAll("table.data, table.matrix, table.heat, table.forest")) {
    const plain = !table.querySelector("tr.group, tr.axis");
    const heads = [...table.querySelectorAll("thead th")];
    if (plain && table.tBodies[0] && table.tBodies[0].rows.length > 2) {
      heads.forEach((head, column) => {
        const button = make("button", "", { type: "button", class: "sort" });
        button.append(...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const up = head.getAttribute("aria-sort") !== "ascending";
          for (const other of heads) other.removeAttribute("aria-sort");
          head.setAttribute("aria-sort", up ? "ascending" : "descending");
          const body = table.tBodies[0];
          const sorted = [...body.rows].sort((one, two) => {
            const [a, b] = [value(one.cells[column]), value(two.cells[column])];
            if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
            return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
          });
          body.append(...sorted);
        });
      });
    }
    const copy = make("button", "Copy as CSV", { type: "button", class: "copy" });
    copy.addEventListener("click", async () => {
      const lines = [...table.rows].filter((row) => !row.matches(".axis") && !row.hidden).map((row) =>
        [...row.cells].filter((cell) => !cell.matches(".p"))
          .map((cell) => csv(safe((cell.innerText || cell.textContent).replace(/\s+/g, " ").trim()))).join(","));
      const text = `${lines.join("\n")}\n`;
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        const area = document.body.appendChild(make("textarea", text));
        area.select();
        document.execCommand("copy");
        area.remove();
      }
      copy.textContent = "Copied";
      status.textContent = "Table copied as CSV";
      setTimeout(() => { copy.textContent = "Copy as CSV"; }, 2000);
    });
    // A table that may be wider than the window has the button below it: its caption is as wide as the table.
    const caption = table.caption;
    if (caption && table.matches(".forest") && !caption.matches(".vh")) caption.prepend(copy);
    else (table.closest(".scroll") || table).after(copy);
  }
})();
