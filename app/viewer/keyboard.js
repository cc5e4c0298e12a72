/** What keys do while the maps have the focus. */

import { rename } from "./query_list.js";

const STEPS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  PageUp: [-10, 0],
  PageDown: [10, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
};

export class Keyboard {
  constructor(viewer) {
    this.viewer = viewer;
  }

  /** Keys pressed in the viewer are the viewer's: hosts bind single letters on the whole page. */
  keepKey(event) {
    if (!event.ctrlKey && !event.metaKey && event.key !== "Tab") event.stopPropagation();
  }

  onKey(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      this.viewer.selection.undo();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    this.viewer.stagesNode.classList.remove("by-pointer");
    if (this.pressed(event)) event.preventDefault();
  }

  /** Do what a key stands for; return whether it stands for anything. */
  pressed({ key, shiftKey }) {
    const { camera, choices, selection, settings } = this.viewer;
    const letter = key.length === 1 ? key.toLowerCase() : key;
    if (this.viewer.frames > 1 && this.moveInTime(key)) return true;
    if (key in STEPS) selection.step(STEPS[key], shiftKey ? 5 : 1);
    else if (key === "Enter" || key === " ") {
      if (this.viewer.frames > 1 && selection.current.frame !== this.viewer.frame) selection.place(selection.current);
      else selection.enter(shiftKey);
    } else if (key === "Escape") selection.clear();
    else if (letter === "t") this.viewer.tokens.toggle();
    else if (letter === "r") selection.markCorner();
    else if (letter === "s") selection.pinClassUnder({ add: shiftKey });
    else if (key === "Delete") selection.queries.length && selection.remove(selection.active);
    else if (/^[1-9]$/.test(key)) selection.activate(Number(key) - 1);
    else if (key === "[") selection.move(selection.active, -1);
    else if (key === "]") selection.move(selection.active, 1);
    else if (key === "?") this.viewer.showHelp();
    else if (key === "+" || key === "=") camera.zoom(1.5);
    else if (key === "-") camera.zoom(1 / 1.5);
    else if (key === "Backspace") camera.zoom(0);
    else if (letter === "u") selection.undo();
    else if (letter === "f") this.viewer.toggleFullScreen();
    else if (letter === "o") choices.toggleMaps();
    else if (letter === "d") choices.toggleDirection();
    else if (letter === "a") choices.set("arrows", !settings.arrows);
    else if (letter === "b") choices.set("boxes", !settings.boxes);
    else if (letter === "c") choices.set("contours", !settings.contours);
    else if (letter === "n" && selection.queries.length > 1) {
      rename(this.viewer, this.viewer.listNode.querySelector("li.active"), selection.queries[selection.active]);
    } else return false;
    return true;
  }

  /** Do what a key stands for in a clip alone; return whether it stands for anything. */
  moveInTime(key) {
    const { timeline, frames } = this.viewer;
    if (key === " ") timeline.toggle();
    else if (key === "," || key === "PageUp") timeline.step(-1);
    else if (key === "." || key === "PageDown") timeline.step(1);
    else if (key === "Home") timeline.step(-frames);
    else if (key === "End") timeline.step(frames);
    else return false;
    return true;
  }
}
