// Moves and zooms a picture and drags its nodes: by mouse, by touch, by keyboard and by buttons.

import { element, listen } from "./elements.js";

const MAX_SCALE = 8;
const STEP = 1.5; // of a button or key
const PAN_STEP = 0.15; // of an arrow key, as a share of what is seen
const MIN_DRAG = 4; // pixels; a shorter move is a click

// What is seen of a picture: everything. `x` and `y` are what stands in the corner at the top left.
export const WHOLE = { scale: 1, x: 0, y: 0 };

let gesture = null; // the one that goes on: its picture, its pointers, the node that it drags, and whether it moved

// Makes a picture follow gestures. `getView` and `setView` are what is seen of `size`, width and height, and
// `dragNode` moves the node with a `data-word` to a point. Scrolling without the control key scrolls the page.
export function addGestures(picture, { size, getView, setView, dragNode, stopDragging }) {
  listen(picture, "wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    setView(zoom(getView(), Math.exp(-event.deltaY / 200), findPoint(event, getView()), size));
  });
  listen(picture, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const view = changeByKey(event.key, getView(), size);
    if (!view) return;
    event.preventDefault();
    setView(view);
  });
  listen(picture, "pointerdown", (event) => {
    if (event.button > 0) return;
    if (gesture?.picture !== event.currentTarget) gesture = startGesture(event);
    gesture.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  listen(picture, "pointermove", (event) => {
    if (!gesture?.pointers.has(event.pointerId) || gesture.picture !== event.currentTarget) return;
    const before = [...gesture.pointers.values()];
    const [lastX, lastY] = gesture.pointers.get(event.pointerId);
    if (before.length === 1 && !gesture.moved && measureDistance([event.clientX, event.clientY], before[0]) < MIN_DRAG)
      return;
    // Only from here on, because the click of a captured pointer reaches no word.
    gesture.picture.setPointerCapture(event.pointerId);
    gesture.moved = true;
    gesture.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    const view = getView();
    if (before.length > 1) {
      const factor = measureDistance(...gesture.pointers.values()) / (measureDistance(...before) || 1);
      setView(zoom(view, factor, findPoint(event, view), size));
    } else if (gesture.word !== null) dragNode(gesture.word, findPoint(event, view));
    else if (view.scale > 1) {
      const unit = event.currentTarget.getScreenCTM().a * view.scale;
      const [x, y] = [view.x - (event.clientX - lastX) / unit, view.y - (event.clientY - lastY) / unit];
      setView(limit({ ...view, x, y }, size));
    }
  });
  for (const name of ["pointerup", "pointercancel"])
    listen(picture, name, (event) => {
      if (!gesture?.pointers.delete(event.pointerId) || gesture.pointers.size) return;
      const { moved } = gesture;
      gesture = null;
      if (moved) stopDragging();
    });
}

export function isDragging(picture) {
  return gesture?.picture === picture && gesture.moved;
}

// Buttons for people without a wheel. `getView` and `setView` get the picture beside the buttons.
export function makeZoomButtons({ name, size, getView, setView }) {
  const makeButton = (sign, title, key) =>
    element(
      "button",
      { type: "button", "aria-label": `${title}: ${name}`, title, click: () => setView(changeByKey(key, getView(), size)) },
      sign,
    );
  return element(
    "div",
    { class: "zoom", role: "group", "aria-label": `Zoom of ${name}` },
    makeButton("+", "Zoom in", "+"),
    makeButton("−", "Zoom out", "-"),
    makeButton("Reset", "Show all, with all circles back in their places", "0"),
  );
}

// The transform that shows a view.
export function formatView({ scale, x, y }) {
  return `scale(${scale.toFixed(3)}) translate(${(-x).toFixed(1)} ${(-y).toFixed(1)})`;
}

function startGesture(event) {
  const word = event.target.closest("[data-word]")?.getAttribute("data-word") ?? null;
  return { picture: event.currentTarget, pointers: new Map(), word: word === null ? null : Number(word), moved: false };
}

// The view that a key leads to; null if the key has no meaning here.
function changeByKey(key, view, size) {
  const middle = size.map((length, axis) => [view.x, view.y][axis] + length / 2 / view.scale);
  if (key === "+" || key === "=") return zoom(view, STEP, middle, size);
  if (key === "-" || key === "−") return zoom(view, 1 / STEP, middle, size);
  if (key === "0") return WHOLE;
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (!step || view.scale === 1) return null;
  const [dx, dy] = step.map((share, axis) => (share * PAN_STEP * size[axis]) / view.scale);
  return limit({ ...view, x: view.x + dx, y: view.y + dy }, size);
}

// The point stays where it is seen.
function zoom(view, factor, [x, y], size) {
  const scale = Math.min(Math.max(view.scale * factor, 1), MAX_SCALE);
  const share = view.scale / scale;
  return limit({ scale, x: x - (x - view.x) * share, y: y - (y - view.y) * share }, size);
}

function limit({ scale, x, y }, [width, height]) {
  const clamp = (value, length) => Math.min(Math.max(value, 0), length * (1 - 1 / scale));
  return { scale, x: clamp(x, width), y: clamp(y, height) };
}

function findPoint(event, view) {
  const inverse = event.currentTarget.getScreenCTM().inverse();
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
  return [point.x / view.scale + view.x, point.y / view.scale + view.y];
}

function measureDistance([x, y], [otherX, otherY]) {
  return Math.hypot(x - otherX, y - otherY);
}
