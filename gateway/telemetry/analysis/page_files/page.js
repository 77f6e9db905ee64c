"use strict";
const tip = document.getElementById("tip");
document.addEventListener("mousemove", (event) => {
  const text = event.target.closest ? event.target.closest("[data-tip]") : null;
  tip.style.display = text ? "block" : "none";
  if (!text) return;
  tip.textContent = text.dataset.tip;
  const right = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  tip.style.left = right + "px";
  tip.style.top = event.clientY + 16 + "px";
});
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : window.matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
