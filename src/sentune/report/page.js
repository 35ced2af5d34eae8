(function () {
  "use strict";
  const specs = JSON.parse(document.getElementById("plots").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");

  // Light or dark: as the reader's machine says, until the button is pressed.
  const kept = "sentune-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = (value) => {
    try {
      if (value) localStorage.setItem(kept, value);
      return localStorage.getItem(kept);
    } catch (error) {
      return null; // a page from a file may not be allowed to store
    }
  };
  const first = remembered();
  if (first === "dark" || first === "light") root.dataset.theme = first;
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    remembered(root.dataset.theme);
  });

  // What is under the pointer, as text nodes only.
  function line(value, name) {
    const paragraph = document.createElement("p");
    if (name) {
      const label = document.createElement("b");
      label.textContent = name;
      paragraph.append(label);
    }
    paragraph.append(String(value));
    return paragraph;
  }
  function show(event, lines) {
    tip.replaceChildren(...lines);
    tip.hidden = false;
    const { clientX: x, clientY: y } = event.touches ? event.touches[0] || event.changedTouches[0] : event;
    const box = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(x + 14, innerWidth - box.width - 8));
    const below = y + 16 + box.height < innerHeight;
    tip.style.left = left + "px";
    tip.style.top = Math.max(8, below ? y + 16 : y - box.height - 12) + "px";
  }
  const hide = () => { tip.hidden = true; };
  addEventListener("scroll", hide, { passive: true });
  addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".plot")) { mark(-1); hide(); }
  });

  function hover(handler, event, item, value) {
    if (value == null || value === "") return hide();
    const rows = typeof value === "object" ? Object.entries(value) : [["", value]];
    show(event, rows.map(([name, one]) => line(one, name)));
  }

  const maps = [];
  async function draw(box) {
    const { view } = await window.sentunePlot(box, specs[box.dataset.plot], {
      renderer: "svg", actions: false, defaultStyle: false, hover: false, tooltip: hover,
    });
    const texts = specs[box.dataset.texts];
    if (texts) {
      maps.push(view);
      const read = (event, item) => {
        const number = item && item.datum && item.datum.i;
        if (number === undefined) { mark(-1); hide(); return; }
        mark(number);
        const [text, group] = texts[number];
        show(event, group ? [line(text), line(group)] : [line(text)]);
      };
      view.addEventListener("pointermove", read);
      view.addEventListener("click", read); // a finger does not move
      view.addEventListener("pointerout", () => { mark(-1); hide(); });
    }
  }
  let marked = -1;
  function mark(number) {
    if (number === marked) return;
    marked = number;
    for (const view of maps) view.signal("at", number).runAsync();
  }
  for (const button of document.querySelectorAll(".pick button")) {
    button.addEventListener("click", () => {
      const was = button.getAttribute("aria-pressed") === "true";
      for (const other of document.querySelectorAll(".pick button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(!was));
      for (const view of maps) view.signal("only", was ? -1 : Number(button.dataset.group)).runAsync();
    });
  }

  const boxes = [...document.querySelectorAll("[data-plot]")];
  Promise.all(boxes.map(draw)).then(() => { root.dataset.drawn = String(boxes.length); });

  // On paper everything is open.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  // Where the reader is.
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (link && entry.isIntersecting) {
        for (const other of links.values()) other.classList.remove("here");
        link.classList.add("here");
        const bar = link.parentElement;
        bar.scrollLeft = link.offsetLeft - bar.offsetLeft - bar.clientWidth / 3;
      }
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  for (const section of document.querySelectorAll("main > section[id]")) seen.observe(section);
})();
