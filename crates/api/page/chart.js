// Small drawings in SVG, made element by element.

import { clock, date, dayOfMonth, percent, t, whole } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const DAY = 86_400_000;

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Least range of health that a line without axes spans, so that noise does not look like a fall. */
const SPARK_RANGE = 30;

/** A line of health by day without axes; `days` as the API gives them. */
export function sparkline(days, width = 72, height = 22) {
  const points = days.map((day) => ({ time: Date.parse(day.date), value: day.health }));
  const known = points.filter((point) => point.value != null);
  const drawing = svg("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (known.length < 2) {
    return drawing;
  }
  const first = points[0].time;
  const span = Math.max(points.at(-1).time - first, DAY);
  const x = (time) => 2 + ((time - first) / span) * (width - 6);
  const values = known.map((point) => point.value);
  const middle = (Math.min(...values) + Math.max(...values)) / 2;
  const range = Math.max(Math.max(...values) - Math.min(...values), SPARK_RANGE);
  const y = (value) => 3 + (0.5 - (value - middle) / range) * (height - 6);
  drawing.append(svg("path", { class: "spark-line", d: path(points, x, y) }));
  const last = known.at(-1);
  drawing.append(svg("circle", { class: "spark-end", cx: x(last.time), cy: y(last.value), r: 2 }));
  return drawing;
}

/** How health changed over seven days; `null` when either end is not known. */
export function weekChange(days, health) {
  if (health == null || !days?.length) {
    return null;
  }
  const wanted = Date.parse(days.at(-1).date) - 7 * DAY;
  const before = days.findLast((day) => Date.parse(day.date) <= wanted);
  return before?.health == null ? null : health - before.health;
}

/** Health and churn risk over time, with the bands behind them. `scores` is oldest first. */
export function historyChart(scores, label) {
  const width = 520;
  const height = 190;
  const frame = { left: 30, right: 34, top: 10, bottom: 22 };
  const inner = { width: width - frame.left - frame.right, height: height - frame.top - frame.bottom };
  const points = scores.map((score) => ({
    time: Date.parse(score.evaluated_at),
    value: score.health,
    risk: score.churn_risk == null ? null : score.churn_risk * 100,
  }));
  const first = points[0].time;
  const last = points.at(-1).time;
  const span = Math.max(last - first, 1);
  const x = (time) => frame.left + ((time - first) / span) * inner.width;
  const y = (value) => frame.top + (1 - value / 100) * inner.height;

  const drawing = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const [band, from, to] of [["red", 0, 50], ["yellow", 50, 75], ["green", 75, 100]]) {
    drawing.append(
      svg("rect", { class: `zone ${band}`, x: frame.left, y: y(to), width: inner.width, height: y(from) - y(to) }),
    );
  }
  for (const value of [0, 50, 75, 100]) {
    drawing.append(
      svg("text", { class: "axis", x: frame.left - 6, y: y(value) + 4, "text-anchor": "end" }, whole(value)),
    );
  }
  for (const value of [0, 50, 100]) {
    drawing.append(
      svg("text", { class: "axis risk", x: width - frame.right + 6, y: y(value) + 4 }, percent(value / 100)),
    );
  }
  const ticks = 4;
  for (let tick = 0; tick <= ticks; tick += 1) {
    const time = first + (span * tick) / ticks;
    const text = span < 2 * DAY ? clock(time).slice(0, 5) : dayOfMonth(time);
    const anchor = tick === 0 ? "start" : tick === ticks ? "end" : "middle";
    drawing.append(svg("text", { class: "axis", x: x(time), y: height - 5, "text-anchor": anchor }, text));
  }
  const risks = points.map((point) => ({ time: point.time, value: point.risk }));
  drawing.append(svg("path", { class: "line risk", d: path(risks, x, y) }));
  drawing.append(svg("path", { class: "line health", d: path(points, x, y) }));
  if (points.length === 1 && points[0].value != null) {
    drawing.append(svg("circle", { class: "dot", cx: x(first), cy: y(points[0].value), r: 3 }));
  }
  pointOut(drawing, points, { x, y, frame, inner, width });
  return drawing;
}

/** Shows the values of the evaluation that is nearest to the pointer. */
function pointOut(drawing, points, { x, y, frame, inner, width }) {
  const mark = svg("g", { class: "mark", visibility: "hidden" });
  const rule = svg("line", { y1: frame.top, y2: frame.top + inner.height });
  const spot = svg("circle", { r: 3.5 });
  const text = svg("text", { y: frame.top + 11 });
  mark.append(rule, spot, text);
  drawing.append(mark);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    const nearest = points.reduce((best, point) => (Math.abs(x(point.time) - at) < Math.abs(x(best.time) - at) ? point : best));
    const place = x(nearest.time);
    rule.setAttribute("x1", place);
    rule.setAttribute("x2", place);
    spot.setAttribute("cx", place);
    spot.setAttribute("cy", y(nearest.value ?? 0));
    spot.setAttribute("visibility", nearest.value == null ? "hidden" : "inherit");
    const isRight = place > width / 2;
    text.setAttribute("x", place + (isRight ? -6 : 6));
    text.setAttribute("text-anchor", isRight ? "end" : "start");
    const risk = nearest.risk == null ? t("none") : percent(nearest.risk / 100);
    text.textContent = `${date(nearest.time)} · ${t("chart_health")} ${whole(nearest.value)} · ${t("chart_risk")} ${risk}`;
    mark.setAttribute("visibility", "visible");
  });
  drawing.addEventListener("pointerleave", () => mark.setAttribute("visibility", "hidden"));
}

/** A line through the points whose value is known, broken where it is not. */
function path(points, x, y) {
  let drawn = "";
  let isDown = false;
  for (const point of points) {
    if (point.value == null) {
      isDown = false;
      continue;
    }
    drawn += `${isDown ? "L" : "M"}${x(point.time).toFixed(1)} ${y(point.value).toFixed(1)}`;
    isDown = true;
  }
  return drawn;
}
