"use strict";
// The slider over thresholds: rates, and a hundred patients as marks.
document.querySelectorAll("[data-threshold]").forEach((block) => {
  const spec = REPORT.charts[block.dataset.threshold], last = spec.at.length - 1;
  const share = (value, digits = 0) => (value === null ? "not known" : `${(100 * value).toFixed(digits)} %`);
  const at = (i) => share(spec.at[i], spec.at[i] < 0.1 ? 1 : 0);
  const alerts = (i) => spec.alerts[i].toFixed(spec.alerts[i] < 10 ? 1 : 0);
  const rate = (name, i) => (name === "alerts" ? alerts(i) : share(spec[name][i]));
  const range = block.querySelector("input"), marks = block.querySelector(".of100");
  const dots = Array.from({ length: 100 }, () => marks.appendChild(document.createElement("span")));
  function show() {
    const i = Number(range.value), alerted = Math.round(spec.alerts[i]);
    const right = Math.round(spec.alerts[i] * (spec.ppv[i] || 0));
    const ill = Math.max(right, Math.round(100 * spec.rate)), missed = Math.min(100 - alerted, ill - right);
    block.querySelector("output").textContent = at(i);
    range.setAttribute("aria-valuetext", `${at(i)}: ${alerts(i)} alerts per 100 patients`);
    block.querySelectorAll("[data-rate]").forEach((place) => { place.textContent = rate(place.dataset.rate, i); });
    marks.setAttribute("aria-label", `Of 100 patients ${alerted} are alerted, ${right} of them have the event; ${missed} are missed.`);
    dots.forEach((dot, k) => {
      dot.className = k < right ? "right" : k < alerted ? "wrong" : k < alerted + missed ? "missed" : "";
    });
  }
  range.max = last;
  // About a fifth of the patients, or what comes nearest.
  range.value = spec.alerts.map((n, i) => [Math.abs(n - 20), i]).sort((a, b) => a[0] - b[0])[0][1];
  range.addEventListener("input", show);
  show();
  const names = ["alerts", "sensitivity", "specificity", "ppv", "npv"];
  const box = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": "rates at every threshold" });
  box.append(tableOf(["threshold", "alerts per 100", "sensitivity", "specificity", "PPV", "NPV"], spec.at.map((_, i) => [share(spec.at[i], 1), ...names.map((name) => rate(name, i))])));
  block.querySelector("details").append(box);
});
