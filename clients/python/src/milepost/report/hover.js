"use strict";
// Values under the pointer. Whatever is shown is text: names are never taken as HTML.
const told = JSON.parse(document.getElementById("values").textContent);
const tip = document.getElementById("tip");
for (const svg of document.querySelectorAll("svg[data-panel]")) {
  const panel = told.panels[svg.dataset.panel];
  const hair = svg.querySelector(".hair");
  svg.addEventListener("mousemove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * told.width / box.width;
    const at = told.begin_s + (x - told.left) / (told.right - told.left) * (told.end_s - told.begin_s);
    let nearest = 0;
    for (let i = 1; i < told.times_s.length; i++) {
      if (Math.abs(told.times_s[i] - at) < Math.abs(told.times_s[nearest] - at)) nearest = i;
    }
    if (!told.times_s.length) return;
    const px = told.left + (told.times_s[nearest] - told.begin_s) / (told.end_s - told.begin_s) * (told.right - told.left);
    hair.setAttribute("x1", px);
    hair.setAttribute("x2", px);
    hair.style.visibility = "visible";
    const lines = [told.clocks[nearest]];
    told.names.forEach((name, i) => {
      const value = panel.lines[i][nearest];
      lines.push((value === null ? "–" : value.toFixed(panel.decimals)) + "  " + name);
    });
    tip.textContent = lines.join("\n");
    tip.style.display = "block";
    tip.style.left = Math.min(event.clientX + 16, window.innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.min(event.clientY + 16, window.innerHeight - tip.offsetHeight - 8) + "px";
  });
  svg.addEventListener("mouseleave", () => {
    hair.style.visibility = "hidden";
    tip.style.display = "none";
  });
}
